"""The stock form of a convolution with an explicit kernel."""

from typing import Any

import keras

from keras_lip.layers.convolutional.stock_on_images import stock_on_images
from keras_lip.types import Array

_CONVOLUTIONS = {1: keras.layers.Conv1D, 2: keras.layers.Conv2D}


def stock_convolution(layer: Any, weights: list[Array]) -> keras.layers.Layer:
    """Returns a convolution of Keras that computes what a layer of ours does.

    Args:
        layer: A built `KernelConv`.
        weights: List of its kernel and, if it has one, its bias.

    Returns:
        A built `Conv1D` or `Conv2D`; with circular padding or channels first, a
        model of one, since no layer of Keras pads circularly.
    """
    circular = layer.operator.is_circular
    stock = _CONVOLUTIONS[layer.rank](
        layer.filters,
        layer.kernel_size,
        strides=layer.strides,
        padding="valid" if circular else layer.padding,
        data_format="channels_last",
        dilation_rate=layer.dilation_rate,
        groups=layer.groups,
        activation=layer.activation,
        use_bias=layer.use_bias,
        name=layer.name,
        dtype=layer.dtype_policy,
    )
    padding = layer.operator.circular_padding(weights[0]) if circular else []
    return stock_on_images(layer, stock, weights, padding)
