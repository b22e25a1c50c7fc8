"""Bounds of the normalization and rescaling layers of Keras, at inference."""

import keras
import numpy as np
from keras import layers

from keras_lip.bounds.norms import NORMS
from keras_lip.bounds.propagate_bound import propagate_bound
from keras_lip.bounds.read_kernel import read_number
from keras_lip.bounds.read_kernel import read_weight
from keras_lip.bounds.rounding import divide_up
from keras_lip.bounds.rounding import multiply_up
from keras_lip.bounds.rules.broadcasting import check_fits
from keras_lip.types import Array


@propagate_bound.register(layers.BatchNormalization, norms=NORMS)
def _(layer: layers.BatchNormalization, inputs: float) -> float:
    # Keras computes in float32, or more.
    epsilon = min(layer.epsilon, float(np.float32(layer.epsilon)))
    variance = read_weight(layer.moving_variance) + epsilon
    gamma = read_weight(layer.gamma) if layer.scale else np.ones(())
    # What is divided by zero, or by the root of less, is no number.
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.abs(gamma) / np.sqrt(variance)
    return multiply_up(inputs, _largest(scale))


@propagate_bound.register(layers.Normalization, norms=NORMS)
def _(layer: layers.Normalization, inputs: float) -> float:
    check_fits(layer, inputs, layer.variance.shape)
    deviation = _deviation(layer)
    if layer.invert:
        return multiply_up(inputs, _largest(deviation))
    return divide_up(inputs, float(np.min(deviation)) * (1 - 2**-50))


@propagate_bound.register(layers.Rescaling, norms=NORMS)
def _(layer: layers.Rescaling, inputs: float) -> float:
    scale = np.asarray(layer.scale, dtype="float64")
    if scale.ndim > 0 and keras.config.image_data_format() == "channels_first":
        # A list of scales is one for each channel, as Keras reads it.
        scale = scale.reshape(scale.shape + (1,) * (3 - scale.ndim))
    check_fits(layer, inputs, scale.shape)
    check_fits(layer, inputs, np.shape(layer.offset))
    return multiply_up(inputs, _largest(read_number(layer, scale)))


def _deviation(layer: layers.Normalization) -> Array:
    with np.errstate(invalid="ignore"):
        deviation = np.sqrt(read_weight(layer.variance))
    # Keras divides by no less than its epsilon.
    smallest = read_number(layer, keras.config.epsilon())
    return np.maximum(deviation.reshape(-1, 1), smallest)


def _largest(values: Array) -> float:
    """Returns the largest value, with room for the roundings that made it."""
    return multiply_up(float(np.max(values)), 1 + 2**-50)
