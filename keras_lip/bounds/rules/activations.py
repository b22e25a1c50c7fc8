"""Bounds of the activation layers of Keras."""

import keras
import numpy as np
from keras import layers

from keras_lip.bounds.activation_bound import activation_bound
from keras_lip.bounds.propagate_bound import propagate_bound
from keras_lip.bounds.read_kernel import read_weight
from keras_lip.bounds.rounding import multiply_up


@propagate_bound.register(layers.Activation)
def _(layer: layers.Activation, inputs: float) -> float:
    return activation_bound(layer.activation, inputs)


@propagate_bound.register(layers.ReLU)
def _(layer: layers.ReLU, inputs: float) -> float:
    if layer.threshold != 0:
        raise ValueError(
            f"Layer '{layer.name}' jumps at its `threshold`, so it has no "
            f"Lipschitz constant. Received: threshold={layer.threshold}"
        )
    return multiply_up(inputs, max(1.0, abs(float(layer.negative_slope))))


@propagate_bound.register(layers.LeakyReLU)
def _(layer: layers.LeakyReLU, inputs: float) -> float:
    return multiply_up(inputs, max(1.0, abs(float(layer.negative_slope))))


@propagate_bound.register(layers.ELU)
def _(layer: layers.ELU, inputs: float) -> float:
    return multiply_up(inputs, max(1.0, abs(float(layer.alpha))))


@propagate_bound.register(layers.PReLU)
def _(layer: layers.PReLU, inputs: float) -> float:
    slopes = np.abs(read_weight(layer.alpha))
    # A slope that is no number compares false: no bound is known of it.
    steepest = float(slopes.max()) if np.isfinite(slopes).all() else np.inf
    return multiply_up(inputs, max(1.0, steepest))


# At inference these pass their input on as it is.
@propagate_bound.register(
    layers.Identity,
    layers.Dropout,
    layers.SpatialDropout1D,
    layers.SpatialDropout2D,
    layers.SpatialDropout3D,
    layers.ActivityRegularization,
)
def _(layer: keras.layers.Layer, inputs: float) -> float:
    return inputs
