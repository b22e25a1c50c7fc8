"""Operations that move entries."""

import math
from typing import Any

import numpy as np
from keras import ops

from keras_lip.program.builder import Wire
from keras_lip.program.freezing.operations.common import classes_of
from keras_lip.program.freezing.operations.common import counted_axis
from keras_lip.program.freezing.operations.common import known_rank
from keras_lip.program.freezing.operations.common import known_sizes
from keras_lip.program.freezing.operations.common import not_understood
from keras_lip.program.freezing.operations.common import refuse_samples
from keras_lip.program.freezing.registry import register_freezer
from keras_lip.program.nodes.axis_linear import Repeat
from keras_lip.program.nodes.selections import Pad
from keras_lip.program.nodes.selections import Reshape
from keras_lip.program.nodes.selections import Transpose
from keras_lip.program.nodes.sorting import Sort


def insert_axis(layer: Any, wire: Wire, axis: int) -> Wire:
    """Adds an axis of size one to samples."""
    sizes = known_sizes(layer, wire)
    return wire.then(Reshape((*sizes[: axis - 1], 1, *sizes[axis - 1 :])))


@register_freezer(*classes_of(lambda x: ops.expand_dims(x, 1)))
def _(layer: Any, x: Wire) -> Wire:
    ndim = len(known_rank(layer, x)) + 2
    axes = layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]
    for axis in axes:
        refuse_samples(layer, axis % ndim)
        x = insert_axis(layer, x, axis % ndim)
    return x


@register_freezer(*classes_of(lambda x: ops.squeeze(x[:, :1], 1)))
def _(layer: Any, x: Wire) -> Wire:
    sizes = known_sizes(layer, x)
    axes = layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]
    if axes == [None]:
        raise ValueError(
            f"Operation '{layer.name}' may drop the batch axis. Pass its "
            "`axis`."
        )
    drop = {counted_axis(layer, axis, x) - 1 for axis in axes}
    return x.then(
        Reshape(tuple(n for i, n in enumerate(sizes) if i not in drop))
    )


@register_freezer(*classes_of(lambda x: ops.moveaxis(x, 1, 2)))
def _(layer: Any, x: Wire) -> Wire:
    ndim = len(known_rank(layer, x)) + 1
    order = list(range(ndim))
    source = [axis % ndim for axis in layer.source]
    target = [axis % ndim for axis in layer.destination]
    order = [axis for axis in order if axis not in source]
    for place, axis in sorted(zip(target, source, strict=True)):
        order.insert(place, axis)
    return _transpose(layer, x, order)


@register_freezer(*classes_of(lambda x: ops.transpose(x, (0, 2, 1))))
def _(layer: Any, x: Wire) -> Wire:
    ndim = len(known_rank(layer, x)) + 1
    axes = layer.axes or range(ndim)[::-1]
    return _transpose(layer, x, [axis % ndim for axis in axes])


@register_freezer(*classes_of(lambda x: ops.swapaxes(x, 1, 2)))
def _(layer: Any, x: Wire) -> Wire:
    ndim = len(known_rank(layer, x)) + 1
    order = list(range(ndim))
    first, second = layer.axis1 % ndim, layer.axis2 % ndim
    order[first], order[second] = order[second], order[first]
    return _transpose(layer, x, order)


def _transpose(layer: Any, x: Wire, order: list[int]) -> Wire:
    if order[0] != 0:
        refuse_samples(layer, 0)
    return x.then(Transpose(tuple(axis - 1 for axis in order[1:])))


@register_freezer(*classes_of(lambda x: ops.repeat(x, 2, axis=1)))
def _(layer: Any, x: Wire) -> Wire:
    if not isinstance(layer.repeats, int):
        raise not_understood(layer, layer.repeats)
    axis = counted_axis(layer, layer.axis, x) - 1
    return x.then(Repeat(axis, layer.repeats))


@register_freezer(*classes_of(lambda x: ops.pad(x, [[0, 0], [1, 1], [0, 0]])))
def _(layer: Any, x: Wire, constant_values: Any = None) -> Wire:
    widths = np.broadcast_to(
        np.asarray(layer.pad_width), (len(known_rank(layer, x)) + 1, 2)
    )
    if layer.mode != "constant" or constant_values not in (None, 0):
        raise ValueError(
            f"Operation '{layer.name}' pads with other values than zeros, for "
            f"which no bound is known. Received: mode={layer.mode!r}, "
            f"constant_values={constant_values!r}"
        )
    if np.any(widths[0]):
        refuse_samples(layer, 0)
    pairs = tuple((int(before), int(after)) for before, after in widths[1:])
    return x.then(Pad(pairs))


@register_freezer(*classes_of(lambda x: ops.reshape(x, (-1, 4))))
def _(layer: Any, x: Wire) -> Wire:
    target = list(layer.newshape)
    sizes = known_sizes(layer, x)
    if -1 in target[1:] or target[0] not in (-1, None):
        # The sizes of the other axes must be known to keep samples separate.
        refuse_samples(layer, 0)
    if math.prod(target[1:]) != math.prod(sizes):
        refuse_samples(layer, 0)
    return x.then(Reshape(tuple(int(size) for size in target[1:])))


@register_freezer(*classes_of(lambda x: ops.sort(x, axis=1)))
def _(layer: Any, x: Wire) -> Wire:
    axis = counted_axis(layer, layer.axis, x) - 1
    return x.then(Sort(axis, known_sizes(layer, x)[axis]))
