"""Executions of sums, and of products with constants."""

import math
import numbers
from typing import Any

import numpy as np
from keras import layers

from keras_lip.bounds.rounding import divide_up
from keras_lip.certificates.execution import upward
from keras_lip.certificates.execution.arithmetic import HOST
from keras_lip.certificates.execution.arithmetic import constant_rate
from keras_lip.certificates.execution.execute import Machine
from keras_lip.certificates.execution.execute import execute
from keras_lip.certificates.execution.execute import refuse
from keras_lip.certificates.execution.execution import Execution
from keras_lip.certificates.execution.execution import add_executions
from keras_lip.certificates.execution.execution import underflow_norm
from keras_lip.certificates.execution.operations import OPERATIONS
from keras_lip.types import Array


@execute.register(layers.Add, OPERATIONS["+"])
def _(layer: Any, args: tuple[Any, ...], machine: Machine) -> Execution:
    terms = _check_terms(layer, args, machine)
    value = sum((term.value for term in terms[1:]), terms[0].value)
    return add_executions(terms, value, machine.arithmetic)


@execute.register(layers.Subtract, OPERATIONS["-"])
def _(layer: Any, args: tuple[Any, ...], machine: Machine) -> Execution:
    first, second = _check_terms(layer, args, machine)
    value = first.value - second.value
    return add_executions([first, second], value, machine.arithmetic)


@execute.register(OPERATIONS["*"])
def _(layer: Any, args: tuple[Any, ...], machine: Machine) -> Execution:
    first, second = args
    if not isinstance(first, Execution):
        first, second = second, first
    return _multiply(layer, first, second, machine)


@execute.register(OPERATIONS["/"])
def _(layer: Any, args: tuple[Any, ...], machine: Machine) -> Execution:
    inputs, divisor = args
    divisor = _check_number(layer, divisor, machine)
    if not 2.0**-100 <= abs(divisor) <= 2.0**100:
        refuse(layer, f"it divides by {divisor}", machine)
    value = inputs.value / divisor
    # It may be a product with the rounded reciprocal.
    rate = constant_rate(divisor, 4, machine.arithmetic)
    return _scale(inputs, value, divide_up(1.0, abs(divisor)), rate, machine)


@execute.register(OPERATIONS["negative"])
def _(layer: Any, args: tuple[Any, ...], machine: Machine) -> Execution:
    return args[0].with_value(-args[0].value)


@execute.register(layers.Rescaling)
def _(layer: Any, args: tuple[Any, ...], machine: Machine) -> Execution:
    outputs = _multiply(layer, args[0], layer.scale, machine)
    offset = _check_number(layer, layer.offset, machine)
    if offset == 0:
        return outputs
    value = outputs.value + offset
    arithmetic = machine.arithmetic
    local = upward.add(
        upward.sample_norms(outputs.value),
        upward.sample_norms(np.full(value.shape, offset)),
        underflow_norm(value, 2, arithmetic),
    )
    return outputs.with_value(value).with_rounding(
        constant_rate(offset, 2, arithmetic),
        HOST.gamma(2),
        local,
        outputs.spread,
        arithmetic,
    )


def _multiply(
    layer: Any, inputs: Execution, factor: Any, machine: Machine
) -> Execution:
    factor = _check_number(layer, factor, machine)
    rate = constant_rate(factor, 2, machine.arithmetic)
    return _scale(inputs, inputs.value * factor, abs(factor), rate, machine)


def _scale(
    inputs: Execution, value: Array, scale: float, rate: float, machine: Machine
) -> Execution:
    """Passes through a multiplication by a number of modulus `scale`."""
    arithmetic = machine.arithmetic
    # The moduli are those of the products, to a rounding of the host.
    norms = upward.multiply(upward.sample_norms(value), 1 + 2.0**-50)
    return inputs.with_value(value, scale).with_rounding(
        rate,
        HOST.gamma(4),
        upward.add(norms, underflow_norm(value, 4, arithmetic)),
        upward.multiply(inputs.spread, scale),
        arithmetic,
    )


def _check_number(layer: Any, number: Any, machine: Machine) -> float:
    if not isinstance(number, numbers.Real) or not math.isfinite(number):
        refuse(
            layer, "it computes with more than a tensor and numbers", machine
        )
    return float(number)


def _check_terms(
    layer: Any, args: tuple[Any, ...], machine: Machine
) -> list[Execution]:
    """Returns the terms of a sum, which must be tensors of one shape."""
    terms = list(args) if len(args) > 1 else list(args[0])
    tensors = [term for term in terms if isinstance(term, Execution)]
    shapes = {term.value.shape for term in tensors}
    if len(tensors) < len(terms) or len(shapes) > 1:
        refuse(layer, "it adds up more than tensors of one shape", machine)
    return tensors
