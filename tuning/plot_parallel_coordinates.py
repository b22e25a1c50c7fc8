"""The trials of a search as lines through their values."""

import pathlib
from typing import Any

import numpy as np

from keras_lip.figures import make_figure
from tuning.figures import LABEL
from tuning.figures import save_figure
from tuning.trial_lines import format_value
from tuning.trial_table import METRICS
from tuning.trial_table import Row

_NO_PARAMETERS = {"trial", "status", "failure", *METRICS}


def plot_parallel_coordinates(rows: list[Row], path: pathlib.Path) -> None:
    """Draws a line for each trial, through its values of each parameter.

    Args:
        rows: Rows of the trials that were completed, with what
            `tabulate_trials` says of them.
        path: Path of the picture, `.png`.
    """
    parameters = [
        name
        for name in dict.fromkeys(name for row in rows for name in row)
        if name not in _NO_PARAMETERS and _varies(rows, name)
    ]
    figure = make_figure(2.5 + 1.3 * (len(parameters) + 1), 5.5)
    axes = figure.add_subplot()
    scores = np.array([row["certified"] for row in rows])
    heights = [_place(rows, name, axes, x) for x, name in enumerate(parameters)]
    low, high = float(scores.min()), float(scores.max())
    heights.append((scores - low) / (high - low) if high > low else 0 * scores)
    lines = np.array(heights).T
    from matplotlib import colormaps

    colors = colormaps["viridis"]
    for index in np.argsort(scores):
        axes.plot(
            lines[index], color=colors(lines[index, -1]), alpha=0.8, marker="o"
        )
    last = len(parameters)
    for share in np.linspace(0, 1, 5):
        axes.annotate(f" {low + share * (high - low):.1%}", (last, share))
    axes.set_xticks(
        range(last + 1),
        [*parameters, "certified\naccuracy"],
        rotation=30,
        ha="right",
    )
    axes.set_yticks([])
    axes.set_title(LABEL)
    save_figure(figure, path)


def _varies(rows: list[Row], name: str) -> bool:
    return len({row.get(name) for row in rows}) > 1


def _place(rows: list[Row], name: str, axes: Any, x: int) -> Any:
    """Returns where each trial crosses an axis, and labels the axis.

    A trial that has no such parameter crosses it below all that do.
    """
    values = [row.get(name) for row in rows]
    known = sorted({value for value in values if value is not None})
    below = 0.12 if None in values else 0.0
    numbers = all(isinstance(value, int | float) for value in known)
    if numbers and len(known) > 6:
        # So many values are those of a range that is searched by its logarithm.
        low, high = np.log(known[0]), np.log(known[-1])
        places = {
            value: (np.log(value) - low) / (high - low) for value in known
        }
        labels = [known[0], known[-1]]
    else:
        places = {
            value: index / max(1, len(known) - 1)
            for index, value in enumerate(known)
        }
        labels = known
    axes.axvline(x, color="lightgray", zorder=0)
    if below:
        axes.annotate(" –", (x, 0.0), fontsize="small")
    for value in labels:
        height = below + (1 - below) * places[value]
        axes.annotate(f" {format_value(value)}", (x, height), fontsize="small")
    return np.array(
        [
            0.0 if value is None else below + (1 - below) * places[value]
            for value in values
        ]
    )
