"""Sums, multiples and products."""

from typing import Any

import numpy as np
from keras import ops

from keras_lip.program.builder import Wire
from keras_lip.program.freezing.checks import check_same_shapes
from keras_lip.program.freezing.operations.common import classes_of
from keras_lip.program.freezing.operations.common import is_wire
from keras_lip.program.freezing.operations.common import not_understood
from keras_lip.program.freezing.operations.common import read_constant
from keras_lip.program.freezing.reading import round_constant
from keras_lip.program.freezing.registry import register_freezer
from keras_lip.program.nodes.affine import Affine
from keras_lip.program.nodes.average_pooling import GlobalPool
from keras_lip.program.nodes.axis_linear import Center
from keras_lip.program.nodes.dense import Dense
from keras_lip.program.nodes.merges import Combine
from keras_lip.read_weight import read_weight


@register_freezer(*classes_of(lambda x: x + x))
def _(layer: Any, first: Any, second: Any) -> Wire:
    return _add(layer, first, second, 1.0)


@register_freezer(*classes_of(lambda x: x - x))
def _(layer: Any, first: Any, second: Any) -> Wire:
    return _add(layer, first, second, -1.0)


def _add(layer: Any, first: Any, second: Any, sign: float) -> Wire:
    if is_wire(first) and is_wire(second):
        axis = _centered_axis(first, second) if sign < 0 else None
        if axis is not None:
            return first.then(Center(axis))
        check_same_shapes(layer, (first, second))
        return first.then(Combine((1.0, sign)), second)
    if is_wire(first):
        offset = sign * read_constant(layer, second, first)
        return first.then(Affine(np.ones_like(offset), offset))
    offset = read_constant(layer, first, second)
    return second.then(Affine(np.full_like(offset, sign), offset))


def _centered_axis(x: Wire, other: Wire) -> int | None:
    """Returns the axis along which one wire is the mean of the other."""
    step = other.builder.step_of(other.index)
    if step is None or step.inputs != (x.index,):
        return None
    node = step.node
    if not isinstance(node, GlobalPool) or node.scale is not None:
        return None
    return node.over[0] if len(node.over) == 1 else None


@register_freezer(*classes_of(lambda x: -x))
def _(layer: Any, x: Wire) -> Wire:
    return x.then(Affine(np.array(-1.0), np.array(0.0)))


@register_freezer(*classes_of(lambda x: 2 * x))
def _(layer: Any, first: Any, second: Any) -> Wire:
    if is_wire(first) and is_wire(second):
        raise ValueError(
            f"Operation '{layer.name}' multiplies two tensors, which is not "
            "Lipschitz. Multiply a tensor by a number."
        )
    wire, value = (first, second) if is_wire(first) else (second, first)
    scale = read_constant(layer, value, wire)
    return wire.then(Affine(scale, np.zeros_like(scale)))


@register_freezer(*classes_of(lambda x: x / 2))
def _(layer: Any, numerator: Any, denominator: Any) -> Wire:
    if is_wire(denominator):
        raise ValueError(
            f"Operation '{layer.name}' divides by a tensor, which is not "
            "Lipschitz. Divide a tensor by a number."
        )
    values = read_constant(layer, denominator, numerator, smallest=True)
    with np.errstate(divide="ignore"):
        scale = 1 / values
    power_of_two = np.all(np.frexp(values)[0] == 0.5 * np.sign(values))
    return numerator.then(
        Affine(scale, np.zeros_like(scale), exact=bool(power_of_two))
    )


@register_freezer(*classes_of(lambda x: ops.matmul(x, np.ones((2, 2)))))
def _(layer: Any, first: Any, second: Any) -> Wire:
    if not is_wire(first) or is_wire(second):
        raise ValueError(
            f"Operation '{layer.name}' multiplies by a tensor from the left, "
            "or multiplies two tensors. No bound is known for this."
        )
    kernel = (
        np.asarray(second, "float64")
        if isinstance(second, np.ndarray)
        else read_weight(second)
    )
    if kernel.ndim != 2:
        raise not_understood(layer, kernel.shape)
    return first.then(Dense(round_constant(first, kernel), None))
