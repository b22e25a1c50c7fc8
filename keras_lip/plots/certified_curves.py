"""Certified accuracies of several models in one figure."""

from collections.abc import Mapping
from typing import Any

from keras_lip.certificates.reports.certification_report import (
    CertificationReport,
)
from keras_lip.certificates.reports.page import plot_curves
from keras_lip.figures import take_axes
from keras_lip.plots.by_title import by_title


def certified_curves(
    reports: CertificationReport | Mapping[str, CertificationReport],
    axes: Any = None,
) -> Any:
    """Draws certified accuracies against the radius.

    The certified accuracy of each report is a line. Its attacked accuracies are
    points in the same color. The line is proven, the points are measured.

    Args:
        reports: A `keras_lip.certificates.CertificationReport`, or a dict from
            titles to reports. All of them should be of the same data.
        axes: The `matplotlib.axes.Axes` to draw on. Defaults to `None`, for the
            axes of a new figure of `matplotlib.pyplot`.

    Returns:
        The axes.

    Raises:
        ImportError: If the extra `report` is not installed.
        TypeError: If `reports` contains something else, or `axes` is not axes.
        ValueError: If `reports` is empty, or the reports are in different
            norms.
    """
    named = by_title("reports", reports, CertificationReport)
    norms = sorted({report.norm for report in named.values()})
    if len(norms) > 1:
        raise ValueError(
            "All reports must be in the same norm, because a radius means "
            f"something else in another one. Received: norms {norms}"
        )
    axes = take_axes(axes)
    plot_curves(named, axes)
    return axes
