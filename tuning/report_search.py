"""What a search writes when it is over."""

import argparse
import sys
from typing import Any

from keras_lip.files import write_text
from tuning.plot_depth_and_width import plot_depth_and_width
from tuning.plot_parallel_coordinates import plot_parallel_coordinates
from tuning.report_best import report_best
from tuning.report_best import train_best
from tuning.trial_table import format_csv
from tuning.trial_table import format_markdown
from tuning.trial_table import tabulate_trials


def report_search(
    arguments: argparse.Namespace,
    data: Any,
    hypermodel: Any,
    trials: list[Any],
) -> int:
    """Writes the table of trials, trains the best model anew and certifies it.

    Args:
        arguments: Namespace with `project`, `refit_epochs`, `batch_size`,
            `epsilon` and `seed`.
        data: The `Data` of the search.
        hypermodel: A `BaseHyperModel`.
        trials: List of `keras_tuner.engine.trial.Trial`.

    Returns:
        Integer. The status to exit with: zero if a model was found.
    """
    project = arguments.project
    rows = tabulate_trials(trials)
    write_text(project / "trials.csv", format_csv(rows))
    write_text(project / "trials.md", format_markdown(rows))
    print(format_markdown(rows))
    completed = [row for row in rows if row["status"] == "COMPLETED"]
    if not completed:
        print(
            f"All {len(rows)} trials failed, and there is no model to report. "
            f"The reasons are in {project / 'trials.md'}.",
            file=sys.stderr,
        )
        return 1
    plot_parallel_coordinates(completed, project / "parallel_coordinates.png")
    plot_depth_and_width(completed, project / "depth_and_width.png")

    number = completed[0]["trial"]
    (best,) = (each for each in trials if int(each.trial_id) + 1 == number)
    print(f"Training trial {number} anew, on the validation part as well ...")
    model = train_best(
        hypermodel,
        best,
        data,
        arguments.refit_epochs,
        arguments.batch_size,
        arguments.seed,
    )
    report = report_best(model, best, data, arguments.epsilon, project)
    print(f"Held-out part, of which the search has seen nothing:\n{report}")
    names = ", ".join(sorted(path.name for path in project.iterdir()))
    print(f"Written to {project}/: {names}")
    return 0
