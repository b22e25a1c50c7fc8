"""The trials of a search as a table."""

import csv
import io
from typing import Any

from tuning.trial_lines import describe_failure
from tuning.trial_lines import format_value

METRICS = {
    "certified": "val_certified_accuracy",
    "accuracy": "val_accuracy",
    "mcr": "val_mean_certifiable_robustness",
}

Row = dict[str, Any]


def tabulate_trials(trials: list[Any]) -> list[Row]:
    """Lists the trials, the best first and those that failed last.

    Args:
        trials: List of `keras_tuner.engine.trial.Trial`.

    Returns:
        List of dicts from the names of columns to values: the number of the
        trial, its status, its metrics on the validation part, its values, and
        why it failed. A parameter that did not apply is absent.
    """
    rows = [_make_row(trial) for trial in trials]
    return sorted(
        rows, key=lambda row: (-row.get("certified", -1), row["trial"])
    )


def _make_row(trial: Any) -> Row:
    row: Row = {"trial": int(trial.trial_id) + 1, "status": trial.status}
    if trial.status == "COMPLETED":
        for column, metric in METRICS.items():
            if trial.metrics.exists(metric):
                row[column] = float(trial.metrics.get_best_value(metric))
    for name, value in trial.hyperparameters.values.items():
        if name == "tuner/epochs":
            row["epochs"] = value
        elif not name.startswith("tuner/"):
            row[name] = value
    if trial.status == "FAILED":
        row["failure"] = describe_failure(trial)
    return row


def format_csv(rows: list[Row]) -> str:
    """Formats rows as comma-separated values.

    Args:
        rows: What `tabulate_trials` returned.

    Returns:
        Text whose first line names the columns.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, _columns(rows), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def format_markdown(rows: list[Row]) -> str:
    """Formats rows as a table in Markdown.

    Args:
        rows: What `tabulate_trials` returned.

    Returns:
        Text, a line for each row.
    """
    columns = _columns(rows)
    lines = [columns, ["---"] * len(columns)]
    lines += [[_format_cell(row, column) for column in columns] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _columns(rows: list[Row]) -> list[str]:
    first = ["trial", "status", *METRICS]
    names = dict.fromkeys([*first, *(name for row in rows for name in row)])
    last = [name for name in ("failure",) if names.pop(name, 0) is None]
    return [*names, *last]


def _format_cell(row: Row, column: str) -> str:
    value = row.get(column, "")
    if column in ("certified", "accuracy") and value != "":
        return f"{value:.1%}"
    return format_value(value).replace("|", "/")
