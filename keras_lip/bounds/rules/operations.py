"""Bounds of the operations that `+`, `-`, `*` and `/` make of tensors."""

import math
import numbers
from typing import Any

import keras
import numpy as np

from keras_lip.bounds.bound import Bound
from keras_lip.bounds.norms import NORMS
from keras_lip.bounds.propagate_bound import propagate_bound
from keras_lip.bounds.rounding import add_up
from keras_lip.bounds.rounding import divide_up
from keras_lip.bounds.rounding import multiply_up
from keras_lip.bounds.rules.broadcasting import check_same_shapes
from keras_lip.graph import get_operation


def _operations() -> dict[str, type]:
    """Returns the classes of the operations, which Keras does not export."""
    x = keras.KerasTensor((None, 1))
    made = {
        "+": x + x,
        "-": x - x,
        "neg": -x,
        "*": 2 * x,
        "/": x / 2,
        "convert": keras.ops.convert_to_tensor(x),
    }
    return {sign: type(get_operation(tensor)) for sign, tensor in made.items()}


_OPERATIONS = _operations()


@propagate_bound.register(_OPERATIONS["+"], _OPERATIONS["-"], norms=NORMS)
def _(layer: Any, inputs: list[Any]) -> float:
    bounds = [value for value in inputs if isinstance(value, Bound)]
    _check_constants(layer, inputs)
    check_same_shapes(layer, bounds)
    return add_up(*bounds)


@propagate_bound.register(_OPERATIONS["neg"], norms=NORMS)
def _(layer: Any, inputs: list[Any]) -> float:
    return float(inputs[0])


# A functional model puts one before its inputs if its `call` is overridden.
@propagate_bound.register(_OPERATIONS["convert"], norms=NORMS)
def _(layer: Any, inputs: list[Any]) -> float:
    dtype = layer.dtype
    if dtype is not None and not keras.backend.is_float_dtype(dtype):
        raise ValueError(
            f"Operation '{layer.name}' rounds its input to {dtype!r}, so that "
            "it has no Lipschitz constant."
        )
    return float(inputs[0])


@propagate_bound.register(_OPERATIONS["*"], norms=NORMS)
def _(layer: Any, inputs: list[Any]) -> float:
    _check_constants(layer, inputs)
    bounds = [value for value in inputs if isinstance(value, Bound)]
    if len(bounds) != 1:
        raise ValueError(
            f"Operation '{layer.name}' multiplies two tensors, which is not "
            "Lipschitz. Multiply a tensor by a number."
        )
    first, second = (_largest(value) for value in inputs)
    return multiply_up(first, second)


@propagate_bound.register(_OPERATIONS["/"], norms=NORMS)
def _(layer: Any, inputs: list[Any]) -> float:
    _check_constants(layer, inputs)
    numerator, denominator = inputs
    if isinstance(denominator, Bound):
        raise ValueError(
            f"Operation '{layer.name}' divides by a tensor, which is not "
            "Lipschitz. Divide a tensor by a number."
        )
    smallest = min(abs(denominator), abs(_to_float32(denominator)))
    return divide_up(numerator, smallest)


def _largest(value: Any) -> float:
    """Returns the magnitude of a bound, or of a number as it may be rounded."""
    if isinstance(value, Bound):
        return value
    return max(abs(float(value)), abs(_to_float32(value)))


def _to_float32(value: Any) -> float:
    with np.errstate(over="ignore"):
        return float(np.float32(value))


def _check_constants(layer: Any, inputs: list[Any]) -> None:
    for value in inputs:
        if isinstance(value, Bound):
            continue
        if not isinstance(value, numbers.Real) or not math.isfinite(value):
            raise ValueError(
                f"Operation '{layer.name}' joins a tensor with {value!r} of "
                f"type `{type(value).__name__}`. Only finite numbers are "
                "understood; use a layer for anything else."
            )
