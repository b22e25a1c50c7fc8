"""The stock form of a transposed convolution with an explicit kernel."""

from typing import Any

import keras

from keras_lip.layers.convolutional.stock_on_images import stock_on_images
from keras_lip.types import Array


def stock_convolution_transpose(
    layer: Any, weights: list[Array]
) -> keras.layers.Layer:
    """Returns a transposed convolution of Keras that computes the same.

    Args:
        layer: A built `KernelConvTranspose` of images.
        weights: List of its kernel and, if it has one, its bias.

    Returns:
        A built `Conv2DTranspose`, or a model of one. It has the padding
        `"valid"`, and what `"same"` leaves out is cropped: which pixels these
        are depends on the version of Keras. Bias and activation are applied to
        each pixel, so that it makes no difference to do so before.
    """
    operator, kernel = layer.operator, weights[0]
    stock = keras.layers.Conv2DTranspose(
        layer.filters,
        layer.kernel_size,
        strides=layer.strides,
        padding="valid",
        data_format="channels_last",
        dilation_rate=layer.dilation_rate,
        activation=layer.activation,
        use_bias=layer.use_bias,
        name=layer.name,
        dtype=layer.dtype_policy,
    )
    return stock_on_images(
        layer,
        stock,
        weights,
        operator.adjoint_padding(kernel) if operator.is_circular else [],
        operator.adjoint_cropping(kernel),
    )
