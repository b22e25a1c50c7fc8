"""The stock form of a skew orthogonal convolution."""

import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_lip.layers.to_functional import to_functional
from keras_lip.operators import pad_circular
from keras_lip.types import Array
from keras_lip.types import Tensor


def stock_exponential(layer: Any) -> keras.Model:
    """Returns a model of Keras that computes what a `SOCConv2D` does.

    Its first convolution, without a bias, stands for all terms but one and is
    called for each of them. The last one to be applied has the filters that are
    kept, and the bias.

    Args:
        layer: A built `SOCConv2D`.

    Returns:
        A functional `keras.Model`.

    Raises:
        ValueError: If the layer has strides and the sides of its inputs are not
            known.
    """
    shape = layer.get_build_config()["input_shape"]
    inputs = outputs = keras.Input(shape[1:], dtype=layer.compute_dtype)
    first = layer.data_format == "channels_first"
    if first:
        outputs = ops.moveaxis(outputs, 1, -1)
    if math.prod(layer.strides) > 1:
        outputs = to_functional(layer.downsampling)(outputs)
    outputs = _exponentiate(layer, layer.pad_channels(outputs))
    activation = keras.layers.Activation(
        layer.activation, dtype=layer.dtype_policy
    )
    outputs = activation(outputs)
    if first:
        outputs = ops.moveaxis(outputs, -1, 1)
    return keras.Model(inputs, outputs, name=layer.name)


def _exponentiate(layer: Any, images: Tensor) -> Tensor:
    kernel = ops.convert_to_numpy(layer.generator)
    step = _make_step(layer, [kernel])
    outputs = images
    for order in range(layer.eval_terms, 1, -1):
        outputs = images + step(outputs) / order
    weights = [kernel[..., : layer.filters]]
    if layer.use_bias:
        weights.append(ops.convert_to_numpy(layer.bias))
    last = _make_step(layer, weights)
    return images[..., : layer.filters] + last(outputs)


def _make_step(layer: Any, weights: list[Array]) -> Callable[[Tensor], Tensor]:
    """Makes a convolution with these weights, on the images of a layer."""
    *_, channels, filters = weights[0].shape
    circular = layer.operator.is_circular
    convolution = keras.layers.Conv2D(
        filters,
        layer.kernel_size,
        padding="valid" if circular else "same",
        data_format="channels_last",
        use_bias=len(weights) > 1,
        dtype=layer.dtype_policy,
    )
    convolution.build((None, None, None, channels))
    convolution.set_weights(weights)

    def step(images: Tensor) -> Tensor:
        if circular:
            padding = layer.operator.circular_padding(weights[0])
            images = pad_circular(images, padding)
        return convolution(images)

    return step
