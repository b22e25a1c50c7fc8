"""The stock form of a convolution with an explicit kernel."""

from typing import Any

import keras
from keras import ops

from keras_lip.operators import pad_circular
from keras_lip.types import Array

_CONVOLUTIONS = {1: keras.layers.Conv1D, 2: keras.layers.Conv2D}


def stock_convolution(layer: Any, weights: list[Array]) -> keras.layers.Layer:
    """Returns a convolution of Keras that computes what a layer of ours does.

    Args:
        layer: A built `KernelConv`.
        weights: List of its kernel and, if it has one, its bias.

    Returns:
        A built `Conv1D` or `Conv2D`; with circular padding or channels first, a
        model of one, since no layer of Keras pads circularly, and convolutions
        on CPUs want their channels last.
    """
    stock = _CONVOLUTIONS[layer.rank](
        layer.filters,
        layer.kernel_size,
        strides=layer.strides,
        padding="valid" if layer.operator.is_circular else layer.padding,
        data_format="channels_last",
        dilation_rate=layer.dilation_rate,
        groups=layer.groups,
        activation=layer.activation,
        use_bias=layer.use_bias,
        name=layer.name,
        dtype=layer.dtype_policy,
    )
    shape = layer.get_build_config()["input_shape"]
    stock.build(layer.to_channels_last(shape))
    stock.set_weights(weights)
    first = layer.data_format == "channels_first"
    if not first and not layer.operator.is_circular:
        return stock
    inputs = outputs = keras.Input(shape[1:], dtype=layer.compute_dtype)
    if first:
        outputs = ops.moveaxis(outputs, 1, -1)
    if layer.operator.is_circular:
        padding = layer.operator.circular_padding(weights[0])
        outputs = pad_circular(outputs, padding)
    outputs = stock(outputs)
    if first:
        outputs = ops.moveaxis(outputs, -1, 1)
    return keras.Model(inputs, outputs, name=layer.name)
