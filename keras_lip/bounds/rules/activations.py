"""Bounds of the activation layers of Keras."""

from typing import Any

import keras
import numpy as np
from keras import layers

from keras_lip.bounds.activation_bound import activation_bound
from keras_lip.bounds.norms import NORMS
from keras_lip.bounds.propagate_bound import propagate_bound
from keras_lip.bounds.read_kernel import read_kernel
from keras_lip.bounds.read_kernel import read_number
from keras_lip.bounds.rounding import multiply_up
from keras_lip.bounds.rules.broadcasting import check_fits


@propagate_bound.register(layers.Activation, norms=NORMS)
def _(layer: layers.Activation, inputs: float) -> float:
    return activation_bound(layer.activation, inputs)


@propagate_bound.register(layers.ReLU, norms=NORMS)
def _(layer: layers.ReLU, inputs: float) -> float:
    if layer.threshold != 0:
        raise ValueError(
            f"Layer '{layer.name}' jumps at its `threshold`, so it has no "
            f"Lipschitz constant. Received: threshold={layer.threshold}"
        )
    return _rectify(inputs, read_number(layer, layer.negative_slope))


@propagate_bound.register(layers.LeakyReLU, norms=NORMS)
def _(layer: layers.LeakyReLU, inputs: float) -> float:
    return _rectify(inputs, read_number(layer, layer.negative_slope))


@propagate_bound.register(layers.ELU, norms=NORMS)
def _(layer: layers.ELU, inputs: float) -> float:
    return _rectify(inputs, read_number(layer, layer.alpha))


@propagate_bound.register(layers.PReLU, norms=NORMS)
def _(layer: layers.PReLU, inputs: float) -> float:
    check_fits(layer, inputs, layer.alpha.shape)
    return _rectify(inputs, read_kernel(layer, layer.alpha))


# At inference these pass their input on as it is.
@propagate_bound.register(
    layers.Identity,
    layers.Dropout,
    layers.SpatialDropout1D,
    layers.SpatialDropout2D,
    layers.SpatialDropout3D,
    layers.ActivityRegularization,
    norms=NORMS,
)
def _(layer: keras.layers.Layer, inputs: float) -> float:
    return inputs


def _rectify(inputs: float, slopes: Any) -> float:
    """Bounds a function of slope one above zero and of given slopes below."""
    # Unlike that of Python, this maximum keeps what is not a number.
    steepest = np.max(np.abs(slopes), initial=1.0)
    return multiply_up(inputs, float(steepest))
