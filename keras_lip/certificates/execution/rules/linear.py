"""Executions of dense layers and of convolutions."""

import dataclasses
import functools
import math
from typing import Any

import keras
import numpy as np
from keras import layers

from keras_lip.bounds.convolution_norm_bound import convolution_norm_bound
from keras_lip.bounds.read_kernel import read_weight
from keras_lip.bounds.spectral_norm_bound import spectral_norm_bound
from keras_lip.certificates.execution import upward
from keras_lip.certificates.execution.convolve import convolve
from keras_lip.certificates.execution.execute import Machine
from keras_lip.certificates.execution.execute import execute
from keras_lip.certificates.execution.execution import Execution
from keras_lip.certificates.execution.linear_map import LinearMap
from keras_lip.certificates.execution.linear_map import apply_linear
from keras_lip.certificates.execution.rules.activations import activate
from keras_lip.types import Array


@execute.register(layers.Dense)
def _(layer: Any, args: tuple[Any, ...], machine: Machine) -> Execution:
    (inputs,) = args
    linear = machine.measure(layer, _measure_dense)
    outputs = apply_linear(inputs, linear, machine.arithmetic)
    if layer.activation is keras.activations.linear:
        return dataclasses.replace(outputs, linear=linear, source=inputs)
    return activate(layer, layer.activation, outputs, machine)


@execute.register(layers.Conv1D, layers.Conv2D)
def _(layer: Any, args: tuple[Any, ...], machine: Machine) -> Execution:
    linear = machine.measure(layer, _measure_convolution)
    outputs = apply_linear(args[0], linear, machine.arithmetic)
    return activate(layer, layer.activation, outputs, machine)


def _measure_dense(layer: layers.Dense) -> LinearMap:
    kernel = read_weight(layer.kernel)
    return LinearMap(
        lambda x, matrix, bias: x @ matrix + bias,
        kernel,
        read_weight(layer.bias) if layer.use_bias else 0.0,
        spectral_norm_bound(kernel),
        _modulus_norm(np.abs(kernel), kernel.size),
        len(kernel) + 1,
    )


def _measure_convolution(layer: Any) -> LinearMap:
    kernel = read_weight(layer.kernel)
    phases = [
        stride // math.gcd(stride, rate)
        for stride, rate in zip(layer.strides, layer.dilation_rate, strict=True)
    ]
    return LinearMap(
        functools.partial(_convolve, layer),
        kernel,
        read_weight(layer.bias) if layer.use_bias else 0.0,
        convolution_norm_bound(kernel, phases, layer.groups),
        # No frequency of a kernel of moduli has a larger entry than its sum.
        _modulus_norm(
            _sum_taps(np.abs(kernel), phases, layer.groups), kernel.size
        ),
        math.prod(kernel.shape[:-1]) + 1,
    )


def _modulus_norm(moduli: Array, size: int) -> float:
    # Room for weights so small that they are flushed to zero, all in all.
    return float(upward.add(spectral_norm_bound(moduli), size * 2.0**-100))


def _sum_taps(kernel: Array, phases: list[int], groups: int) -> Array:
    """Sums over the taps that meet the pixels of one phase, from above."""
    *window, channels, filters = kernel.shape
    sums = np.zeros((*phases, channels, filters))
    for index in np.ndindex(*window):
        phase = tuple(i % n for i, n in zip(index, phases, strict=True))
        sums[phase] = upward.add(sums[phase], kernel[index])
    matrix = sums.reshape(-1, filters)
    # One matrix for each group, whose norm is the largest of theirs.
    return np.moveaxis(matrix.reshape(len(matrix), groups, -1), 1, 0)


def _convolve(
    layer: Any, images: Array, kernel: Array, bias: Array | float
) -> Array:
    first = layer.data_format == "channels_first"
    if first:
        images = np.moveaxis(images, 1, -1)
    outputs = bias + convolve(
        images,
        kernel,
        layer.strides,
        layer.dilation_rate,
        layer.groups,
        layer.padding,
    )
    return np.moveaxis(outputs, -1, 1) if first else outputs
