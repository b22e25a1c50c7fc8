"""Pooling layers of Keras."""

from typing import Any

import keras
from keras import layers

from keras_lip.program.builder import Wire
from keras_lip.program.freezing.checks import refuse_masks
from keras_lip.program.freezing.reading import on_images
from keras_lip.program.freezing.registry import register_freezer
from keras_lip.program.nodes.average_pooling import GlobalPool
from keras_lip.program.nodes.average_pooling import WindowPool
from keras_lip.program.nodes.pooling import GlobalMax
from keras_lip.program.nodes.pooling import MaxPool
from keras_lip.program.nodes.selections import Reshape


@register_freezer(layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D)
def _(layer: Any, x: Wire) -> Wire:
    return on_images(x, layer, MaxPool(*_pool_arguments(layer)))


@register_freezer(
    layers.AveragePooling1D, layers.AveragePooling2D, layers.AveragePooling3D
)
def _(layer: Any, x: Wire) -> Wire:
    sizes, strides, padding = _pool_arguments(layer)
    if padding == "same" and keras.backend.backend() == "torch":
        # In this case Keras pads with border pixels if it has to add more
        # pixels on one side.
        padding = "torch"
    return on_images(x, layer, WindowPool(sizes, strides, padding, None))


def _pool_arguments(layer: Any) -> tuple[Any, Any, str]:
    sizes, strides = layer.pool_size, layer.strides
    return (
        tuple(sizes) if isinstance(sizes, tuple | list) else (sizes,),
        tuple(strides) if isinstance(strides, tuple | list) else (strides,),
        layer.padding,
    )


@register_freezer(
    layers.GlobalAveragePooling1D,
    layers.GlobalAveragePooling2D,
    layers.GlobalAveragePooling3D,
)
def _(layer: Any, x: Wire) -> Wire:
    refuse_masks(layer, x)
    return _pool_globally(layer, x, lambda axes: GlobalPool(axes, None))


@register_freezer(
    layers.GlobalMaxPooling1D,
    layers.GlobalMaxPooling2D,
    layers.GlobalMaxPooling3D,
)
def _(layer: Any, x: Wire) -> Wire:
    return _pool_globally(layer, x, GlobalMax)


def _pool_globally(layer: Any, x: Wire, make: Any) -> Wire:
    first = layer.data_format == "channels_first"
    if x.shape is None:
        return x.then(make((0,)))
    ndim = len(x.shape)
    axes = tuple(range(1, ndim) if first else range(ndim - 1))
    outputs = x.then(make(axes))
    channels = x.shape[0 if first else -1]
    if layer.keepdims or channels is None:
        return outputs
    return outputs.then(Reshape((channels,)))
