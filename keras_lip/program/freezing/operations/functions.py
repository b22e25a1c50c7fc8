"""Elementwise functions and casts."""

import contextlib
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lip.precision import is_narrow
from keras_lip.program.builder import Wire
from keras_lip.program.freezing.operations.common import classes_of
from keras_lip.program.freezing.operations.common import is_wire
from keras_lip.program.freezing.operations.common import not_understood
from keras_lip.program.freezing.reading import round_constant
from keras_lip.program.freezing.registry import register_freezer
from keras_lip.program.nodes.affine import Affine
from keras_lip.program.nodes.elementwise import Elementwise
from keras_lip.program.nodes.elementwise import ExponentialLinear
from keras_lip.program.nodes.elementwise import Rectify


# A functional model with an overridden `call` has a cast before its inputs.
@register_freezer(
    *classes_of(
        ops.convert_to_tensor,
        lambda x: ops.cast(x, "float64"),
        ops.stop_gradient,
    )
)
def _(layer: Any, x: Wire) -> Wire:
    dtype = getattr(layer, "dtype", None)
    if dtype is not None and not keras.backend.is_float_dtype(dtype):
        raise ValueError(
            f"Operation '{layer.name}' rounds its input to {dtype!r}, so that "
            "it has no Lipschitz constant."
        )
    if dtype is not None and is_narrow(dtype):
        raise ValueError(
            f"Operation '{layer.name}' rounds its input to {dtype}, and this "
            f"error is not bounded. Use layers that compute in {dtype} instead."
        )
    return x.then(Affine(np.array(1.0), np.array(0.0)))


_FUNCTIONS = {
    "absolute": ops.absolute,
    "hard_sigmoid": ops.hard_sigmoid,
    "hard_silu": ops.hard_silu,
    "hard_tanh": ops.hard_tanh,
    "log_sigmoid": ops.log_sigmoid,
    "relu": ops.relu,
    "relu6": ops.relu6,
    "selu": ops.selu,
    "sigmoid": ops.sigmoid,
    "silu": ops.silu,
    "softplus": ops.softplus,
    "softsign": ops.soft_sign if hasattr(ops, "soft_sign") else ops.softsign,
    "tanh": ops.tanh,
}


for _name, _function in _FUNCTIONS.items():

    def _freeze_function(layer: Any, x: Wire, name: str = _name) -> Wire:
        return x.then(Elementwise(name))

    register_freezer(*classes_of(_function))(_freeze_function)


@register_freezer(*classes_of(ops.leaky_relu))
def _(layer: Any, x: Wire) -> Wire:
    return x.then(Rectify(float(round_constant(x, layer.negative_slope)), None))


@register_freezer(*classes_of(ops.elu))
def _(layer: Any, x: Wire) -> Wire:
    return x.then(ExponentialLinear(float(round_constant(x, layer.alpha))))


@register_freezer(*classes_of(lambda x: ops.clip(x, -1.0, 1.0)))
def _(layer: Any, x: Wire) -> Wire:
    low, high = (
        float(round_constant(x, _read_limit(layer, limit)))
        for limit in (layer.x_min, layer.x_max)
    )
    if not low <= high:
        raise not_understood(layer, (low, high))
    middle = x.then(Affine(np.array(1.0), np.array(-low)))
    return middle.then(Rectify(0.0, high - low)).then(
        Affine(np.array(1.0), np.array(low))
    )


def _read_limit(layer: Any, value: Any) -> float:
    if not is_wire(value) and getattr(value, "ndim", 0) == 0:
        with contextlib.suppress(TypeError, ValueError):
            return float(value)
    raise ValueError(
        f"Operation '{layer.name}' has a bound only if it clips to numbers. "
        "For arrays, use `ops.maximum` and `ops.minimum`. Received: "
        f"{value!r} of type `{type(value).__name__}`"
    )
