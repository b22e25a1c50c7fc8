"""Certified radii of samples, with the extreme ones as pictures."""

from typing import Any

import numpy as np

from keras_lip.certificates.reports.certification_report import (
    CertificationReport,
)
from keras_lip.figures import take_axes
from keras_lip.figures import to_images
from keras_lip.validation import check_positive_integer


def radii_histogram(
    report: CertificationReport,
    inputs: Any = None,
    axes: Any = None,
    bins: int = 30,
) -> Any:
    """Draws the certified radii of samples, and the extreme ones.

    Correctly and wrongly classified samples are counted apart: a radius says
    that an answer stays the same, not that it is right. If the inputs are
    given, the correctly classified images with the least and the largest radius
    are shown.

    Args:
        report: A `keras_lip.certificates.CertificationReport`.
        inputs: Array of the certified images, of shape `(num_samples, height,
            width)`, or with a last axis of one or three channels. Defaults to
            `None`, for no pictures.
        axes: The `matplotlib.axes.Axes` to draw on. Defaults to `None`, for the
            axes of a new figure of `matplotlib.pyplot`.
        bins: Positive integer. Number of bins. Defaults to `30`.

    Returns:
        The axes.

    Raises:
        ImportError: If the extra `report` is not installed.
        TypeError: If `report` is not a report, or `axes` is not axes.
        ValueError: If `inputs` are not images, or of another number than the
            report's samples, or `bins` is not a positive integer.
    """
    if not isinstance(report, CertificationReport):
        raise TypeError(
            "`report` must be a report of `keras_lip.certificates.certify`. "
            f"Received: {report!r} of type `{type(report).__name__}`"
        )
    bins = check_positive_integer("bins", bins)
    images = None if inputs is None else _check_images(report, inputs)
    axes = take_axes(axes)
    correct = report.prediction == report.label
    parts = {"correct": report.radius[correct]}
    if not np.all(correct):
        parts["wrong"] = report.radius[~correct]
    axes.hist(list(parts.values()), bins, stacked=True, label=list(parts))
    axes.set_xlim(0, None)
    axes.set_xlabel(f"certified radius ({report.norm})")
    axes.set_ylabel("samples")
    axes.grid(alpha=0.3)
    if images is not None and np.any(correct):
        _show_extremes(axes, report, images, np.flatnonzero(correct))
    axes.legend(loc="upper left")
    return axes


def _check_images(report: CertificationReport, inputs: Any) -> Any:
    inputs = np.asarray(inputs)
    if len(inputs) != len(report.radius):
        raise ValueError(
            "`inputs` must be the samples of the report, in the same order. "
            f"Received: {len(inputs)} inputs, a report of "
            f"{len(report.radius)} samples"
        )
    return to_images(inputs)


def _show_extremes(
    axes: Any, report: CertificationReport, images: Any, correct: Any
) -> None:
    order = correct[np.argsort(report.radius[correct], kind="stable")]
    for place, (name, index) in enumerate(
        {"least": order[0], "largest": order[-1]}.items()
    ):
        picture = axes.inset_axes((0.78, 0.68 - 0.34 * place, 0.2, 0.22))
        picture.imshow(images[index], cmap="gray", interpolation="nearest")
        picture.set(xticks=[], yticks=[])
        picture.set_title(
            f"{name}: {report.radius[index]:.3g}, class {report.label[index]}",
            fontsize="x-small",
        )
