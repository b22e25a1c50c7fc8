"""Two measures of several models, and the front of the best trades."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_lip.figures import show_percent
from keras_lip.figures import take_axes
from keras_lip.types import Array
from keras_lip.validation import check_numbers


def pareto_front(
    accuracies: Sequence[float],
    gains: Sequence[float],
    labels: Sequence[str] | None = None,
    axes: Any = None,
) -> Any:
    """Draws two measures of several models, and their Pareto front.

    A model is on the front if no other is at least as good in both measures and
    better in one. The front is drawn as a line.

    Args:
        accuracies: Sequence of floats, one for each model. Usually clean
            accuracies.
        gains: Sequence of as many floats, which the accuracies are traded for.
            Usually certified accuracies.
        labels: Sequence of as many strings, shown beside the points. Defaults
            to `None`, for no labels.
        axes: The `matplotlib.axes.Axes` to draw on. Defaults to `None`, for the
            axes of a new figure of `matplotlib.pyplot`.

    Returns:
        The axes.

    Raises:
        ImportError: If the extra `report` is not installed.
        TypeError: If a sequence is not one, or `axes` is not axes.
        ValueError: If the sequences are empty or differ in length, or a number
            is not finite.
    """
    x = np.array(check_numbers("accuracies", accuracies))
    y = np.array(check_numbers("gains", gains))
    names = [""] * len(x) if labels is None else list(labels)
    if not len(x) == len(y) == len(names) or not len(x):
        raise ValueError(
            "`accuracies`, `gains` and `labels` must have the same length, at "
            f"least one. Received: lengths {len(x)}, {len(y)}, {len(names)}"
        )
    axes = take_axes(axes)
    front = find_front(x, y)
    axes.plot(
        x[front],
        y[front],
        color="gray",
        linewidth=6,
        alpha=0.25,
        zorder=0,
        label="Pareto front",
    )
    axes.plot(x, y, marker="o", linestyle="")
    for name, *point in zip(names, x, y, strict=True):
        axes.annotate(f" {name}", point, fontsize="small")
    axes.set_xlabel("clean accuracy")
    axes.set_ylabel("certified accuracy")
    show_percent(axes.xaxis)
    show_percent(axes.yaxis)
    axes.grid(alpha=0.3)
    axes.legend()
    return axes


def find_front(accuracies: Array, gains: Array) -> list[int]:
    """Returns the indices of the points on the front.

    Args:
        accuracies: Array of shape `(num_points,)`.
        gains: Array of shape `(num_points,)`.

    Returns:
        List of integers, by falling accuracy. Of equal points the first one is
        on the front.
    """
    front: list[int] = []
    for index in np.lexsort((-gains, -accuracies)).tolist():
        if not front or gains[index] > gains[front[-1]]:
            front.append(index)
    return front
