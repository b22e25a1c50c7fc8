"""Bounds of the convolutions of Keras, for any padding and image size."""

import math
from typing import Any

from keras import layers

from keras_lip.bounds.activation_bound import activation_bound
from keras_lip.bounds.convolution_norm_bound import convolution_norm_bound
from keras_lip.bounds.propagate_bound import propagate_bound
from keras_lip.bounds.read_kernel import read_kernel
from keras_lip.bounds.rounding import multiply_up
from keras_lip.bounds.row_sum_bound import row_sum_bound
from keras_lip.types import Array


@propagate_bound.register(layers.Conv1D, layers.Conv2D)
def _(layer: Any, inputs: float) -> float:
    norm = convolution_norm_bound(
        read_kernel(layer, layer.kernel), _phases(layer), layer.groups
    )
    return activation_bound(layer.activation, multiply_up(inputs, norm))


@propagate_bound.register(layers.Conv1D, layers.Conv2D, norms=("linf",))
def _(layer: Any, inputs: float) -> float:
    kernel = read_kernel(layer, layer.kernel)
    norm = row_sum_bound(kernel, range(kernel.ndim - 1))
    return activation_bound(layer.activation, multiply_up(inputs, norm))


@propagate_bound.register(layers.DepthwiseConv1D, layers.DepthwiseConv2D)
def _(layer: Any, inputs: float) -> float:
    norm = _depthwise_norm_bound(read_kernel(layer, layer.kernel), layer)
    return activation_bound(layer.activation, multiply_up(inputs, norm))


@propagate_bound.register(layers.SeparableConv1D, layers.SeparableConv2D)
def _(layer: Any, inputs: float) -> float:
    depthwise = _depthwise_norm_bound(
        read_kernel(layer, layer.depthwise_kernel), layer
    )
    pointwise = convolution_norm_bound(
        read_kernel(layer, layer.pointwise_kernel)
    )
    norm = multiply_up(depthwise, pointwise)
    return activation_bound(layer.activation, multiply_up(inputs, norm))


@propagate_bound.register(layers.Conv1DTranspose, layers.Conv2DTranspose)
def _(layer: Any, inputs: float) -> float:
    # Its kernel, `(*window, out, in)`, is that of the convolution whose adjoint
    # it is, and an operator has the norm of its adjoint.
    norm = convolution_norm_bound(
        read_kernel(layer, layer.kernel), _phases(layer)
    )
    return activation_bound(layer.activation, multiply_up(inputs, norm))


def _depthwise_norm_bound(kernel: Array, layer: Any) -> float:
    # `(*window, in, multiplier)` is `(*window, 1, in * multiplier)` in groups.
    *window, channels, _ = kernel.shape
    grouped = kernel.reshape(*window, 1, -1)
    return convolution_norm_bound(grouped, _phases(layer), groups=channels)


def _phases(layer: Any) -> list[int]:
    """Returns the strides of the convolution of the same norm, undilated."""
    return [
        stride // math.gcd(stride, rate)
        for stride, rate in zip(layer.strides, layer.dilation_rate, strict=True)
    ]
