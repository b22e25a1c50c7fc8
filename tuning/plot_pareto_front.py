"""The trade of accuracy for robustness."""

import pathlib
from typing import Any

from keras_lip.figures import make_figure
from tuning.figures import save_figure
from tuning.trial_table import Row

_AXES = {
    "certified": "certified accuracy at {epsilon:g}",
    "mcr": "mean certifiable robustness (l2)",
}


def find_pareto_front(rows: list[Row], gain: str) -> list[Row]:
    """Finds the rows that no other beats in both accuracies.

    Args:
        rows: List of dicts with a clean `"accuracy"` and the column `gain`.
        gain: Name of the column that is traded for it.

    Returns:
        List of the rows on the front, by falling accuracy.
    """
    front: list[Row] = []
    for row in sorted(rows, key=lambda row: (-row["accuracy"], -row[gain])):
        if not front or row[gain] > front[-1][gain]:
            front.append(row)
    return front


def plot_pareto_front(
    rows: list[Row], epsilon: float, path: pathlib.Path
) -> None:
    """Draws clean accuracy against robustness, for each sweep, and the front.

    Args:
        rows: List of dicts with `"accuracy"`, `"certified"`, `"mcr"`, and one
            of `"temperature"` and `"alpha"`.
        epsilon: Float. Radius of the certified accuracy.
        path: Path of the picture, `.png`.
    """
    figure = make_figure(12, 5)
    panels = figure.subplots(1, 2)
    for axes, (gain, label) in zip(panels, _AXES.items(), strict=True):
        for parameter, symbol in (("temperature", "τ"), ("alpha", "α")):
            swept = [row for row in rows if parameter in row]
            _draw_sweep(axes, swept, gain, parameter, symbol)
        front = find_pareto_front(rows, gain)
        axes.plot(
            [row["accuracy"] for row in front],
            [row[gain] for row in front],
            color="gray",
            linewidth=6,
            alpha=0.25,
            zorder=0,
            label="Pareto front",
        )
        axes.set_xlabel("clean accuracy")
        axes.set_ylabel(label.format(epsilon=epsilon))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.grid(alpha=0.3)
        axes.legend()
    panels[0].yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    figure.suptitle("validation part")
    save_figure(figure, path)


def _draw_sweep(
    axes: Any, rows: list[Row], gain: str, parameter: str, symbol: str
) -> None:
    rows = sorted(rows, key=lambda row: row[parameter])
    axes.plot(
        [row["accuracy"] for row in rows],
        [row[gain] for row in rows],
        marker="o",
        label=f"{parameter} {symbol}",
    )
    for row in rows:
        axes.annotate(
            f" {symbol}={row[parameter]:g}",
            (row["accuracy"], row[gain]),
            fontsize="small",
        )
