"""Operations that select entries."""

import numbers
from typing import Any

from keras import ops

from keras_lip.program.builder import Wire
from keras_lip.program.freezing.operations.common import classes_of
from keras_lip.program.freezing.operations.common import counted_axis
from keras_lip.program.freezing.operations.common import known_rank
from keras_lip.program.freezing.operations.common import known_sizes
from keras_lip.program.freezing.operations.common import not_understood
from keras_lip.program.freezing.operations.common import refuse_samples
from keras_lip.program.freezing.registry import register_freezer
from keras_lip.program.nodes.selections import EVERYWHERE
from keras_lip.program.nodes.selections import Reshape
from keras_lip.program.nodes.selections import Slice


@register_freezer(*classes_of(lambda x: ops.unstack(x, axis=1)[0]))
def _(layer: Any, x: Wire) -> list[Wire]:
    axis = counted_axis(layer, layer.axis, x) - 1
    sizes = known_sizes(layer, x)
    rest = (*sizes[:axis], *sizes[axis + 1 :])
    return [
        _slice(x, axis, i, i + 1).then(Reshape(rest))
        for i in range(sizes[axis])
    ]


@register_freezer(*classes_of(lambda x: ops.split(x, 2, axis=1)[0]))
def _(layer: Any, x: Wire) -> list[Wire]:
    axis = counted_axis(layer, layer.axis, x) - 1
    size = known_sizes(layer, x)[axis]
    places = layer.indices_or_sections
    if isinstance(places, int):
        width = size // places
        places = [width * i for i in range(1, places)]
    edges = [0, *(int(place) for place in places), size]
    return [
        _slice(x, axis, start, stop)
        for start, stop in zip(edges[:-1], edges[1:], strict=True)
    ]


def _slice(x: Wire, axis: int, start: int, stop: int) -> Wire:
    return x.then(Slice((EVERYWHERE,) * axis + ((start, stop, None),)))


@register_freezer(*classes_of(lambda x: x[:, :1]))
def _(layer: Any, x: Wire, key: Any) -> Wire:
    keys = list(key) if isinstance(key, tuple | list) else [key]
    ndim = len(known_rank(layer, x)) + 1
    if Ellipsis in keys:
        at = keys.index(Ellipsis)
        taken = sum(part is not None for part in keys) - 1
        keys[at : at + 1] = [slice(None)] * (ndim - taken)
    if not keys or keys[0] != slice(None):
        refuse_samples(layer, 0)
    ranges: list[tuple[int | None, int | None, int | None]] = []
    target: list[int | None] = []
    sizes = known_rank(layer, x)
    place = 0
    for part in keys[1:]:
        if part is None:
            target.append(1)
            continue
        size = sizes[place]
        place += 1
        if isinstance(part, numbers.Integral):
            start = int(part)
            ranges.append((start, start + 1 if start != -1 else None, None))
        elif isinstance(part, slice):
            each = (part.start, part.stop, part.step)
            if not all(
                n is None or isinstance(n, numbers.Integral) for n in each
            ):
                raise not_understood(layer, key)
            ranges.append(each)
            kept = None if size is None else len(range(*part.indices(size)))
            target.append(kept)
        else:
            raise not_understood(layer, key)
    outputs = x.then(Slice(tuple(ranges)))
    target += sizes[place:]
    if len(target) == len(sizes) and None not in keys:
        return outputs
    known_sizes = [size for size in target if size is not None]
    if len(known_sizes) < len(target):
        raise not_understood(layer, key)
    return outputs.then(Reshape(tuple(known_sizes)))


@register_freezer(*classes_of(lambda x: ops.flip(x, axis=1)))
def _(layer: Any, x: Wire) -> Wire:
    axes = layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]
    own = {counted_axis(layer, axis, x) - 1 for axis in axes}
    ranges = tuple(
        (None, None, -1) if axis in own else EVERYWHERE
        for axis in range(len(known_rank(layer, x)))
    )
    return x.then(Slice(ranges))
