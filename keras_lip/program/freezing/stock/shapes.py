"""Layers that move, select, pad and repeat entries."""

from typing import Any

from keras import layers

from keras_lip.program.builder import Wire
from keras_lip.program.freezing.checks import unknown_layer
from keras_lip.program.freezing.registry import register_freezer
from keras_lip.program.node import known
from keras_lip.program.nodes.axis_linear import Repeat
from keras_lip.program.nodes.axis_linear import Upsample
from keras_lip.program.nodes.selections import EVERYWHERE
from keras_lip.program.nodes.selections import Pad
from keras_lip.program.nodes.selections import Reshape
from keras_lip.program.nodes.selections import Slice
from keras_lip.program.nodes.selections import Transpose


@register_freezer(layers.Flatten)
def _(layer: Any, x: Wire) -> Wire:
    if layer.data_format == "channels_first" and len(x.shape or ()) > 1:
        ndim = len(x.shape or ())
        x = x.then(Transpose((*range(1, ndim), 0)))
    return x.then(Reshape((-1,)))


@register_freezer(layers.Reshape)
def _(layer: Any, x: Wire) -> Wire:
    return x.then(Reshape(tuple(layer.target_shape)))


@register_freezer(layers.Permute)
def _(layer: Any, x: Wire) -> Wire:
    return x.then(Transpose(tuple(axis - 1 for axis in layer.dims)))


@register_freezer(layers.Cropping1D, layers.Cropping2D, layers.Cropping3D)
def _(layer: Any, x: Wire) -> Wire:
    pairs = _pairs(layer.cropping)
    ranges = [
        (before, -after if after else None, None) for before, after in pairs
    ]
    return x.then(Slice(_place(layer, ranges, EVERYWHERE)))


@register_freezer(layers.CenterCrop)
def _(layer: Any, x: Wire) -> Wire:
    first = layer.data_format == "channels_first"
    sides = (x.shape or (None,) * 3)[slice(1, 3) if first else slice(0, 2)]
    targets = (layer.height, layer.width)
    if any(
        side is None or side < target
        for side, target in zip(sides, targets, strict=True)
    ):
        raise unknown_layer(
            layer, f"it may resize images of sides {tuple(sides)}"
        )
    ranges = []
    for side, target in zip(sides, targets, strict=True):
        start = ((side or 0) - target) // 2
        ranges.append((start, start + target, None))
    return x.then(Slice(_place(layer, ranges, EVERYWHERE)))


@register_freezer(
    layers.ZeroPadding1D, layers.ZeroPadding2D, layers.ZeroPadding3D
)
def _(layer: Any, x: Wire) -> Wire:
    return x.then(Pad(_place(layer, _pairs(layer.padding), (0, 0))))


def _pairs(value: Any) -> list[tuple[int, int]]:
    pairs = [value] if isinstance(value[0], int) else value
    return [(int(before), int(after)) for before, after in pairs]


def _place(layer: Any, inner: list[Any], outer: Any) -> tuple[Any, ...]:
    """Composes an operation on channels and an operation on images."""
    if getattr(layer, "data_format", None) == "channels_first":
        return (outer, *inner)
    return (*inner, outer)


@register_freezer(layers.RepeatVector)
def _(layer: Any, x: Wire) -> Wire:
    shape = x.shape
    if shape is not None and known(shape):
        x = x.then(Reshape((1, *(size or 0 for size in shape))))
    return x.then(Repeat(0, layer.n))


@register_freezer(layers.UpSampling1D, layers.UpSampling2D, layers.UpSampling3D)
def _(layer: Any, x: Wire) -> Wire:
    interpolation = getattr(layer, "interpolation", "nearest")
    if interpolation not in ("nearest", "bilinear"):
        raise ValueError(
            f"Layer '{layer.name}' must have interpolation=\"nearest\" or "
            '"bilinear" to be bounded. Received: '
            f"interpolation={interpolation!r}"
        )
    sizes = layer.size if isinstance(layer.size, tuple) else (layer.size,)
    node = Upsample(tuple(sizes), interpolation)
    if getattr(layer, "data_format", "channels_last") == "channels_last":
        return x.then(node)
    ndim = len(sizes) + 1
    moved = x.then(Transpose((*range(1, ndim), 0))).then(node)
    return moved.then(Transpose((ndim - 1, *range(ndim - 1))))
