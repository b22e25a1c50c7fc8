"""Operations that reduce axes."""

from typing import Any

from keras import ops

from keras_lip.program.builder import Wire
from keras_lip.program.freezing.operations.common import classes_of
from keras_lip.program.freezing.operations.common import counted_axis
from keras_lip.program.freezing.operations.common import known_sizes
from keras_lip.program.freezing.operations.common import not_understood
from keras_lip.program.freezing.registry import register_freezer
from keras_lip.program.nodes.average_pooling import GlobalPool
from keras_lip.program.nodes.pooling import GlobalMax
from keras_lip.program.nodes.selections import Reshape


@register_freezer(*classes_of(lambda x: ops.mean(x, axis=1)))
def _(layer: Any, x: Wire) -> Wire:
    return _reduce(layer, x, lambda axes: GlobalPool(axes, None))


@register_freezer(*classes_of(lambda x: ops.sum(x, axis=1)))
def _(layer: Any, x: Wire) -> Wire:
    return _reduce(layer, x, lambda axes: GlobalPool(axes, 1.0))


@register_freezer(*classes_of(lambda x: ops.max(x, axis=1)))
def _(layer: Any, x: Wire) -> Wire:
    if layer.initial is not None:
        raise not_understood(layer, layer.initial)
    return _reduce(layer, x, GlobalMax)


def _reduce(layer: Any, x: Wire, make: Any) -> Wire:
    axes = layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]
    own = tuple(sorted(counted_axis(layer, axis, x) - 1 for axis in axes))
    sizes = known_sizes(layer, x)
    outputs = x.then(make(own))
    if layer.keepdims:
        return outputs
    return outputs.then(
        Reshape(tuple(n for i, n in enumerate(sizes) if i not in own))
    )
