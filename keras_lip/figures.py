"""Matplotlib figures, axes and images."""

import io
from typing import Any

import numpy as np

from keras_lip.files import missing_package
from keras_lip.types import Array


def make_figure(width: float, height: float) -> Any:
    """Makes an empty figure that no window shows.

    Args:
        width: Float, in inches.
        height: Float, in inches.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing_package("matplotlib") from error
    return Figure(figsize=(width, height), layout="constrained")


def encode_figure(figure: Any, dpi: int = 150) -> bytes:
    """Returns a figure as the bytes of a PNG file.

    Args:
        figure: A `matplotlib.figure.Figure`.
        dpi: Positive integer. Pixels per inch. Defaults to `150`.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def take_axes(axes: Any) -> Any:
    """Returns the axes to draw on.

    Args:
        axes: A `matplotlib.axes.Axes`, or `None` for the axes of a new figure
            of `matplotlib.pyplot`, which a notebook shows.

    Raises:
        ImportError: If matplotlib is not installed.
        TypeError: If `axes` is something else.
    """
    try:
        from matplotlib import pyplot
        from matplotlib.axes import Axes
    except ImportError as error:
        raise missing_package("matplotlib") from error
    if axes is None:
        return pyplot.subplots(figsize=(7, 4.5), layout="constrained")[1]
    if not isinstance(axes, Axes):
        raise TypeError(
            "`axes` must be a `matplotlib.axes.Axes`, such as "
            "`matplotlib.pyplot.subplots()[1]`, or `None`. Received: "
            f"axes={axes!r} of type `{type(axes).__name__}`"
        )
    return axes


def show_percent(axis: Any) -> None:
    """Labels an axis of shares from zero to one in percent."""
    axis.set_major_formatter(lambda value, _: f"{value:.0%}")


def to_images(inputs: Array) -> Array:
    """Returns inputs as images in [0, 1] for matplotlib.

    Args:
        inputs: Array of shape `(num_samples, height, width)`, or with a last
            axis of one or three channels.

    Returns:
        Array of shape `(num_samples, height, width)`, or with three channels.

    Raises:
        ValueError: If the inputs have another shape.
    """
    shape = inputs.shape[1:]
    if len(shape) not in (2, 3) or shape[2:] not in ((), (1,), (3,)):
        raise ValueError(
            "To be plotted, inputs must be images of one or three channels, "
            f"channels last. Received: inputs of shape {shape}"
        )
    low, high = np.min(inputs), np.max(inputs)
    images = (inputs - low) / max(high - low, 1e-300)
    return images[..., 0] if shape[2:] == (1,) else images
