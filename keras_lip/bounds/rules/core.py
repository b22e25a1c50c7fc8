"""Bounds of the dense layers of Keras."""

from keras import layers

from keras_lip.bounds.activation_bound import activation_bound
from keras_lip.bounds.propagate_bound import propagate_bound
from keras_lip.bounds.read_kernel import read_kernel
from keras_lip.bounds.rounding import multiply_up
from keras_lip.bounds.row_sum_bound import row_sum_bound
from keras_lip.bounds.spectral_norm_bound import spectral_norm_bound


@propagate_bound.register(layers.Dense)
def _(layer: layers.Dense, inputs: float) -> float:
    norm = spectral_norm_bound(read_kernel(layer, layer.kernel))
    return activation_bound(layer.activation, multiply_up(inputs, norm))


@propagate_bound.register(layers.Dense, norms=("linf",))
def _(layer: layers.Dense, inputs: float) -> float:
    norm = row_sum_bound(read_kernel(layer, layer.kernel))
    return activation_bound(layer.activation, multiply_up(inputs, norm))
