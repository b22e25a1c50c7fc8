"""Helpers of the readers of layers and operations."""

from typing import Any

import numpy as np
from keras import ops

from keras_lip.program.builder import Wire
from keras_lip.program.node import Node
from keras_lip.program.nodes.selections import Transpose
from keras_lip.read_weight import read_kernel
from keras_lip.read_weight import read_weight
from keras_lip.types import Array


def read_bias(layer: Any) -> Array | None:
    """Returns the bias of a layer at inference, or `None`."""
    return read_kernel(layer, layer.bias) if layer.use_bias else None


def round_constant(wire: Wire, numbers: Any, smallest: bool = False) -> Array:
    """Returns constants with the roundings of the current layer.

    Backends round constants to the compute dtype, or to float32 for any compute
    dtype. If both are float32, the running number is known. Otherwise it is one
    of several, and the one with the largest bound is returned.

    Args:
        wire: The wire that the constants are combined with.
        numbers: Number or array.
        smallest: Boolean. Whether to return the possible rounding with the
            smallest absolute value, for divisors, instead of the largest.
    """
    found = np.asarray(numbers, "float64")
    with np.errstate(over="ignore"):
        single = found.astype("float32")
    if wire.builder.dtype == "float32":
        return single.astype("float64")
    for rounded in (single, read_weight(ops.cast(single, wire.builder.dtype))):
        before, after = np.abs(found), np.abs(rounded)
        better = after < before if smallest else after > before
        found = np.where(better, rounded.astype("float64"), found)
    return found


def channels_last(wire: Wire, layer: Any) -> Wire:
    """Converts channels-first images to channels-last."""
    return _move(wire, layer, lambda ndim: (*range(1, ndim), 0))


def channels_back(wire: Wire, layer: Any) -> Wire:
    """Inverts `channels_last`."""
    return _move(wire, layer, lambda ndim: (ndim - 1, *range(ndim - 1)))


def on_images(wire: Wire, layer: Any, *nodes: Node | None) -> Wire:
    """Applies nodes to channels-last images."""
    wire = channels_last(wire, layer)
    for node in nodes:
        wire = wire.then(node)
    return channels_back(wire, layer)


def _move(wire: Wire, layer: Any, order: Any) -> Wire:
    if layer.data_format not in ("channels_first", "channels_last"):
        raise ValueError(
            f"`data_format` of layer '{layer.name}' must be \"channels_first\" "
            f'or "channels_last". Received: data_format={layer.data_format!r}'
        )
    if layer.data_format == "channels_last" or wire.shape is None:
        return wire
    return wire.then(Transpose(order(len(wire.shape))))


def sample_axis(wire: Wire, axis: int) -> int:
    """Converts an axis of a batch to an axis of a sample."""
    ndim = None if wire.shape is None else len(wire.shape) + 1
    if axis == 0 or axis == -(ndim or 0):
        raise ValueError(
            "An axis of samples is expected, because no bound is known across "
            f"a batch. Received: axis={axis}, the batch axis"
        )
    if ndim is None:
        return axis - 1 if axis > 0 else axis
    return axis % ndim - 1


def along_axis(wire: Wire, axis: int, vector: Array) -> Array:
    """Reshapes a vector to align it with an axis of a sample."""
    if wire.shape is None:
        return vector
    shape = [1] * len(wire.shape)
    shape[sample_axis(wire, axis)] = -1
    return vector.reshape(shape)
