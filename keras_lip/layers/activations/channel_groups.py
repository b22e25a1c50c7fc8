"""Splits channels into groups of consecutive channels."""

from typing import Any

from keras import ops

from keras_lip.types import Shape
from keras_lip.types import Tensor


def check_axis(layer: Any, input_shape: Shape, axis: int) -> None:
    """Raises an error if `axis` is the batch axis or does not exist."""
    ndim = len(input_shape)
    if not -ndim < axis < ndim or axis == 0:
        raise ValueError(
            f"`axis` of layer '{layer.name}' must be an axis of its input, and "
            f"not the batch axis. Received: axis={axis}, "
            f"input_shape={tuple(input_shape)}"
        )


def check_channels(layer: Any, input_shape: Shape, axis: int) -> int:
    """Returns the number of channels, or raises an error if it is unknown.

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


def check_groups(
    layer: Any, input_shape: Shape, axis: int, group_size: int
) -> None:
    """Raises an error if the channels cannot be split into groups.

    Raises:
        ValueError: If `axis` is invalid, or its size is unknown or not a
            multiple of `group_size`.
    """
    check_axis(layer, input_shape, axis)
    channels = input_shape[axis]
    if channels is None or channels % group_size:
        raise ValueError(
            f"Layer '{layer.name}' needs a number of channels that is a "
            f"multiple of {group_size}. Received: {channels} channels on axis "
            f"{axis} of input_shape={tuple(input_shape)}"
        )


def check_divisible(inputs: Tensor, axis: int, group_size: int) -> None:
    """Raises an error if the channels of a tensor cannot be split into groups.

    A layer may be called on other inputs than those that it was built for, and
    a reshape could form groups across samples.
    """
    channels = inputs.shape[axis]
    if channels is not None and channels % group_size:
        raise ValueError(
            f"The number of channels must be a multiple of {group_size}. "
            f"Received: {channels} channels on axis "
            f"{axis % len(inputs.shape)} of inputs of shape "
            f"{tuple(inputs.shape)}"
        )


def split_groups(
    inputs: Tensor, axis: int, group_size: int
) -> tuple[Tensor, int]:
    """Splits the channels into groups.

    Args:
        inputs: Tensor whose axis `axis` contains the channels.
        axis: Integer, counted from either end.
        group_size: Positive integer that divides the number of channels.

    Returns:
        Tuple of the tensor with one more axis, and the index of that axis. The
        new axis contains the members of each group.
    """
    check_divisible(inputs, axis, group_size)
    axis %= len(inputs.shape)
    shape = _shape(inputs)
    groups = shape[axis] // group_size
    shape[axis : axis + 1] = [groups, group_size]
    return ops.reshape(inputs, shape), axis + 1


def merge_groups(groups: Tensor, inputs: Tensor) -> Tensor:
    """Inverts `split_groups`: reshapes `groups` to the shape of `inputs`."""
    return ops.reshape(groups, _shape(inputs))


def _shape(inputs: Tensor) -> list[Any]:
    """Returns a shape for `reshape`, with unknown batch size."""
    shape = list(ops.shape(inputs))
    shape[0] = -1
    return shape
