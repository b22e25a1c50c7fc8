"""Layers that shift and scale."""

from typing import Any

import keras
import numpy as np
from keras import layers

from keras_lip.program.builder import Wire
from keras_lip.program.freezing.checks import check_fits
from keras_lip.program.freezing.checks import unknown_layer
from keras_lip.program.freezing.reading import along_axis
from keras_lip.program.freezing.reading import round_constant
from keras_lip.program.freezing.registry import register_freezer
from keras_lip.program.nodes.affine import Affine
from keras_lip.program.nodes.affine import translate
from keras_lip.read_weight import read_kernel
from keras_lip.read_weight import read_weight


@register_freezer(layers.BatchNormalization)
def _(layer: Any, x: Wire) -> Wire:
    # Keras computes in at least float32.
    variance = read_weight(layer.moving_variance)
    epsilon = float(np.float32(layer.epsilon))
    if layer.compute_dtype == "float64":
        epsilon = min(layer.epsilon, epsilon)
    # A zero or negative variance gives NaN or infinity.
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = 1 / np.sqrt(variance + epsilon)
    if layer.scale:
        scale = scale * read_weight(layer.gamma)
    beta = read_weight(layer.beta) if layer.center else np.zeros_like(scale)
    mean, scale, beta = (
        along_axis(x, layer.axis, each)
        for each in (read_weight(layer.moving_mean), scale, beta)
    )
    return x.then(translate(-mean)).then(Affine(scale, beta, exact=False))


@register_freezer(layers.Normalization)
def _(layer: Any, x: Wire) -> Wire:
    # The layer computes with its constants, which may differ from its weights.
    mean, variance = read_weight(layer.mean), read_weight(layer.variance)
    if len(variance) > 1:
        raise unknown_layer(
            layer, "it scales the samples of a batch differently"
        )
    mean, variance = mean[0], variance[0]
    check_fits(layer, x, variance.shape)
    with np.errstate(invalid="ignore"):
        deviation = np.sqrt(variance)
    # Keras divides by at least its epsilon.
    least = float(read_kernel(layer, np.float32(keras.config.epsilon())))
    if layer.compute_dtype == "float64":
        least = min(least, keras.config.epsilon())
    deviation = np.maximum(deviation, least)
    if layer.invert:
        return x.then(Affine(deviation, mean, exact=False))
    scale = 1 / deviation
    return x.then(translate(-mean)).then(
        Affine(scale, np.zeros_like(scale), exact=False)
    )


@register_freezer(layers.Rescaling)
def _(layer: Any, x: Wire) -> Wire:
    scale = round_constant(x, layer.scale)
    offset = round_constant(x, layer.offset)
    if scale.ndim > 0 and keras.config.image_data_format() == "channels_first":
        # Keras interprets a list of scales as one scale for each channel.
        scale = scale.reshape(scale.shape + (1,) * (3 - scale.ndim))
    check_fits(layer, x, scale.shape)
    check_fits(layer, x, offset.shape)
    return x.then(Affine(scale, offset))
