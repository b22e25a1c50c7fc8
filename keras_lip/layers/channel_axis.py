"""The axis of the channels, checked when a layer is built."""

from typing import Any

from keras_lip.types import Shape


def check_axis(layer: Any, input_shape: Shape, axis: int) -> None:
    """Refuses an axis that the input does not have, and the batch axis."""
    ndim = len(input_shape)
    if not -ndim < axis < ndim or axis == 0:
        raise ValueError(
            f"`axis` of layer '{layer.name}' must be an axis of its input, and "
            f"not the batch axis. Received: axis={axis}, "
            f"input_shape={tuple(input_shape)}"
        )


def check_channels(layer: Any, input_shape: Shape, axis: int) -> int:
    """Returns the number of channels, or says why it is not known.

    Args:
        layer: The layer, for the error.
        input_shape: Shape of its input, batch axis included.
        axis: Integer, counted from either end.

    Raises:
        ValueError: If `axis` is not an axis of the input, is the batch axis,
            or has no known size.
    """
    check_axis(layer, input_shape, axis)
    channels = input_shape[axis]
    if channels is None:
        raise ValueError(
            f"Layer '{layer.name}' needs a known number of channels. Received: "
            f"axis={axis}, input_shape={tuple(input_shape)}"
        )
    return channels


def channel_shape(ndim: int, axis: int) -> list[int]:
    """Returns the shape that aligns a vector with the axis of the channels."""
    shape = [1] * ndim
    shape[axis] = -1
    return shape
