"""Executions of activation functions that are exact but for a product."""

from typing import Any

import keras
import numpy as np
from keras import layers

from keras_lip.certificates.execution import upward
from keras_lip.certificates.execution.arithmetic import HOST
from keras_lip.certificates.execution.arithmetic import constant_rate
from keras_lip.certificates.execution.execute import Machine
from keras_lip.certificates.execution.execute import execute
from keras_lip.certificates.execution.execute import refuse
from keras_lip.certificates.execution.execution import Execution
from keras_lip.certificates.execution.execution import underflow_norm

# The slope that Keras gives the function where it is called without one.
_LEAKY_SLOPE = 0.2


def activate(
    layer: Any, activation: Any, inputs: Execution, machine: Machine
) -> Execution:
    """Passes an execution through an activation function of `layer`."""
    if activation is keras.activations.linear:
        return inputs
    if activation is keras.activations.relu:
        return _rectify(inputs, 0.0, machine)
    if activation is keras.activations.leaky_relu:
        return _rectify(inputs, _LEAKY_SLOPE, machine)
    name = getattr(activation, "__name__", repr(activation))
    refuse(layer, f"no accuracy of its activation `{name}` is known", machine)


@execute.register(layers.Activation)
def _(layer: Any, args: tuple[Any, ...], machine: Machine) -> Execution:
    return activate(layer, layer.activation, args[0], machine)


@execute.register(layers.ReLU)
def _(layer: Any, args: tuple[Any, ...], machine: Machine) -> Execution:
    if layer.max_value is not None or layer.threshold != 0:
        refuse(layer, "it has a `max_value` or a `threshold`", machine)
    return _rectify(args[0], float(layer.negative_slope), machine)


@execute.register(layers.LeakyReLU)
def _(layer: Any, args: tuple[Any, ...], machine: Machine) -> Execution:
    return _rectify(args[0], float(layer.negative_slope), machine)


def _rectify(inputs: Execution, slope: float, machine: Machine) -> Execution:
    """Passes through a function of slope one above zero, and `slope` below."""
    arithmetic = machine.arithmetic
    below = slope * np.minimum(inputs.value, 0.0)
    value = np.maximum(inputs.value, 0.0) + below
    outputs = inputs.with_value(value, max(1.0, abs(slope)))
    if slope != 0:
        outputs = outputs.with_rounding(
            constant_rate(slope, 2, arithmetic),
            HOST.gamma(2),
            upward.add(
                upward.sample_norms(below), underflow_norm(value, 2, arithmetic)
            ),
            upward.multiply(inputs.spread, abs(slope)),
            arithmetic,
        )
    return outputs.with_flushing(arithmetic)
