"""Bounds of the normalization and rescaling layers of Keras, at inference."""

import numpy as np
from keras import layers

from keras_lip.bounds.propagate_bound import propagate_bound
from keras_lip.bounds.read_kernel import read_weight
from keras_lip.bounds.rounding import divide_up
from keras_lip.bounds.rounding import multiply_up
from keras_lip.bounds.rounding import up
from keras_lip.types import Array


@propagate_bound.register(layers.BatchNormalization)
def _(layer: layers.BatchNormalization, inputs: float) -> float:
    variance = read_weight(layer.moving_variance) + layer.epsilon
    gamma = read_weight(layer.gamma) if layer.scale else np.ones(())
    scale = np.abs(gamma) / np.sqrt(variance)
    return multiply_up(inputs, _largest(scale))


@propagate_bound.register(layers.Normalization)
def _(layer: layers.Normalization, inputs: float) -> float:
    if layer.invert:
        return multiply_up(inputs, _largest(_deviation(layer)))
    return divide_up(inputs, float(np.min(_deviation(layer))) * (1 - 2**-50))


@propagate_bound.register(layers.Rescaling)
def _(layer: layers.Rescaling, inputs: float) -> float:
    # A list of scales is one for each channel.
    scale = np.abs(np.asarray(layer.scale, dtype="float64"))
    return multiply_up(inputs, _largest(scale))


def _deviation(layer: layers.Normalization) -> Array:
    deviation = np.sqrt(read_weight(layer.variance))
    # Keras divides by no less than its backend epsilon, which is float32's.
    return np.maximum(deviation, 1e-7)


def _largest(values: Array) -> float:
    """Returns the largest value, with room for the roundings that made it."""
    return up(float(np.max(values)) * (1 + 2**-50))
