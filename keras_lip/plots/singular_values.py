"""Singular values of Jacobians as histograms."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_lip.bounds.jacobian_singular_values import JacobianSingularValues
from keras_lip.figures import take_axes
from keras_lip.plots.by_title import by_title
from keras_lip.validation import check_positive_integer


def singular_values(
    values: JacobianSingularValues | Mapping[str, JacobianSingularValues],
    axes: Any = None,
    bins: int = 50,
) -> Any:
    """Draws histograms of the singular values of Jacobians.

    A network that preserves the norm of gradients has its singular values near
    one, which a dotted line marks. They are computed at samples and prove
    nothing.

    Args:
        values: The result of `keras_lip.bounds.jacobian_singular_values`, or a
            dict from titles to results.
        axes: The `matplotlib.axes.Axes` to draw on. Defaults to `None`, for the
            axes of a new figure of `matplotlib.pyplot`.
        bins: Positive integer. Number of bins. Defaults to `50`.

    Returns:
        The axes.

    Raises:
        ImportError: If the extra `report` is not installed.
        TypeError: If `values` contains something else, or `axes` is not axes.
        ValueError: If `values` is empty, or `bins` is not a positive integer.
    """
    named = by_title("values", values, JacobianSingularValues)
    bins = check_positive_integer("bins", bins)
    axes = take_axes(axes)
    upper = max(1.0, *(each.largest for each in named.values()))
    for title, each in named.items():
        counts, edges = each.histogram(bins, upper)
        axes.stairs(
            counts / np.sum(counts),
            edges,
            fill=True,
            alpha=0.5,
            label=title or None,
        )
    axes.axvline(1.0, color="black", linestyle=":", linewidth=1)
    axes.set_xlim(0, None)
    axes.set_xlabel("singular value of the Jacobian")
    axes.set_ylabel("share")
    axes.grid(alpha=0.3)
    if any(named):
        axes.legend()
    return axes
