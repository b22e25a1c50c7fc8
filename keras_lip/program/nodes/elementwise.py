"""Elementwise functions, with their slopes."""

import dataclasses
import math
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import keras
import numpy as np
from keras import activations

from keras_lip.program import upward
from keras_lip.program.arithmetic import constant_rate
from keras_lip.program.enclosure import Enclosure
from keras_lip.program.enclosure import Machine
from keras_lip.program.node import CONSTANT_SLACK
from keras_lip.program.node import Node
from keras_lip.program.node import SampleShape
from keras_lip.program.node import enlarges
from keras_lip.proofs.rounding import multiply_down
from keras_lip.types import Array
from keras_lip.types import Tensor


class Unaccounted(ValueError):
    """Raised if the rounding errors of an operation are unknown."""


class Function(NamedTuple):
    """Known properties of a Keras activation function.

    Attributes:
        compute: The function for float64 arrays.
        slope: Float. Upper bound on the absolute value of its slope.
        monotone: Boolean. Whether slopes are between zero and one.
        exact: Boolean. Whether it only compares and selects, without rounding.
        least_slope: Float. Lower bound on its slope, at least zero.
    """

    compute: Callable[[Array], Array]
    slope: float
    monotone: bool = False
    exact: bool = False
    least_slope: float = 0.0


def _sigmoid(x: Array) -> Array:
    power = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, power) / (1 + power)


def _softplus(x: Array) -> Array:
    return np.logaddexp(0.0, x)


def _gelu(x: Array) -> Array:
    return (
        x * (1 + np.vectorize(math.erf, otypes=[float])(x / math.sqrt(2))) / 2
    )


def _elu(x: Array) -> Array:
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0.0)))


def _selu(x: Array) -> Array:
    alpha, scale = 1.6732632423543772, 1.0507009873554805
    return scale * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0)))


def _relu(x: Array) -> Array:
    return np.maximum(x, 0.0)


def _hard_sigmoid(x: Array) -> Array:
    return np.clip(x + 3, 0.0, 6.0) / 6


# The slope of `leaky_relu`, a number of float32.
_SLOPE = float(np.float32(0.2))


def _sparse_plus(x: Array) -> Array:
    return np.where(x <= -1, 0.0, np.where(x < 1, (x + 1) ** 2 / 4, x))


# `gelu` peaks at a slope of 1.12890, `silu` at 1.09984, `selu` at
# `scale * alpha`, `mish` at 1.08850, and `hard_silu` at its corner.
FUNCTIONS: dict[str, Function] = {
    "celu": Function(_elu, 1.0, True),
    "elu": Function(_elu, 1.0, True),
    "gelu": Function(_gelu, 1.1291),
    "hard_sigmoid": Function(_hard_sigmoid, 1 / 6 + 1e-16, True),
    "hard_silu": Function(lambda x: x * _hard_sigmoid(x), 1.5),
    "hard_tanh": Function(lambda x: np.clip(x, -1.0, 1.0), 1.0, True, True),
    "leaky_relu": Function(
        lambda x: np.maximum(x, _SLOPE * x), 1.0, True, False, 0.199
    ),
    "linear": Function(lambda x: x, 1.0, True, True, 1.0),
    "log_sigmoid": Function(lambda x: -_softplus(-x), 1.0, True),
    "mish": Function(lambda x: x * np.tanh(_softplus(x)), 1.0886),
    "relu": Function(_relu, 1.0, True, True),
    "relu6": Function(lambda x: np.clip(x, 0.0, 6.0), 1.0, True, True),
    "selu": Function(_selu, 1.7581),
    "sigmoid": Function(_sigmoid, 0.25, True),
    "silu": Function(lambda x: x * _sigmoid(x), 1.0999),
    "soft_shrink": Function(lambda x: x - np.clip(x, -0.5, 0.5), 1.0, True),
    "softplus": Function(_softplus, 1.0, True),
    "softsign": Function(lambda x: x / (1 + np.abs(x)), 1.0, True),
    "sparse_plus": Function(_sparse_plus, 1.0, True),
    "sparse_sigmoid": Function(
        lambda x: np.clip((x + 1) / 2, 0.0, 1.0), 0.5, True
    ),
    "squareplus": Function(lambda x: (x + np.hypot(x, 2.0)) / 2, 1.0, True),
    "tanh": Function(np.tanh, 1.0, True),
    "tanh_shrink": Function(lambda x: x - np.tanh(x), 1.0, True),
}

# Operations of `keras.ops` with other names.
_MORE = {"absolute": Function(np.abs, 1.0, exact=True)}


@dataclasses.dataclass(frozen=True, eq=False)
class Elementwise(Node):
    """Applies a function of one number to each entry.

    Attributes:
        function: Name of a function of `keras.activations`, or `"absolute"`.
    """

    function: str

    @property
    def known(self) -> Function:
        """The known properties of the function."""
        return FUNCTIONS.get(self.function) or _MORE[self.function]

    def apply(self, *inputs: Array) -> Array:
        with np.errstate(over="ignore"):
            return self.known.compute(inputs[0])

    def pull_back(self, upstream: Array, *inputs: Array) -> Sequence[Array]:
        # Gradients serve estimates and attacks, no proof.
        (x,) = inputs
        step = 1e-6 * (1 + np.abs(x))
        change = self.apply(x + step) - self.apply(x - step)
        return (upstream * change / (2 * step),)

    def prove(self, norm: str, shape: SampleShape) -> float:
        return self.known.slope

    def prove_contraction(self, norm: str, shape: SampleShape) -> float:
        return self.known.least_slope

    def enclose(self, inputs: list[Enclosure], machine: Machine) -> Enclosure:
        if self.function == "soft_shrink":
            (source,) = inputs
            # Away from zero, the error is the rounding error of a difference.
            moduli = np.abs(source.value) + 0.5
            return (
                super()
                .enclose(inputs, machine)
                .with_rounding(
                    machine, upward.sample_norms(moduli), 3, source.spread
                )
            )
        if self.known.exact:
            return super().enclose(inputs, machine)
        if self.function == "leaky_relu":
            return Rectify(_SLOPE, None).enclose(inputs, machine)
        if machine.sharp:
            raise Unaccounted(
                f"the accuracy of its activation `{self.function}` is unknown"
            )
        (source,) = inputs
        value = self.apply(source.value)
        # Exponentials, logarithms and quotients are assumed to be accurate to
        # 16 units in the last place, several times the error of all known
        # implementations. A function combines a few of them with products with
        # the input.
        moduli = upward.add(
            upward.sample_norms(value),
            upward.multiply(upward.sample_norms(source.value), 2.0),
            float(np.sqrt(value[0].size)) if len(value) else 0.0,
        )
        outputs = source.with_value(value, self.known.slope)
        return outputs.with_rounding(machine, moduli, 64)

    def to_keras(self, inputs: list[Tensor], dtype: str, **kwargs: Any) -> Any:
        if self.function in _MORE:
            return keras.ops.absolute(inputs[0])
        return keras.layers.Activation(
            self.function, dtype=dtype, name=kwargs.get("name")
        )(inputs[0])


@dataclasses.dataclass(frozen=True, eq=False)
class Rectify(Node):
    """Applies a function with slope one above zero and given slopes below.

    Attributes:
        slope: Float or float64 array that broadcasts with a sample, or array.
        limit: Float or `None`. Upper limit of the outputs.
    """

    slope: float | Array
    limit: float | None

    def apply(self, *inputs: Array) -> Array:
        (x,) = inputs
        outputs = np.maximum(x, 0.0) + self.slope * np.minimum(x, 0.0)
        return (
            outputs if self.limit is None else np.minimum(outputs, self.limit)
        )

    def pull_back(self, upstream: Array, *inputs: Array) -> Sequence[Array]:
        (x,) = inputs
        slopes = np.where(x > 0, 1.0, self.slope)
        if self.limit is not None:
            slopes = np.where(self.apply(x) < self.limit, slopes, 0.0)
        return (upstream * slopes,)

    def why_unfit(self, *shapes: SampleShape) -> str | None:
        if not enlarges(shapes[0], self.slope):
            return None
        return f"slopes of the shape {np.shape(self.slope)} would be broadcast"

    def prove(self, norm: str, shape: SampleShape) -> float:
        # Unlike Python's `max`, this maximum keeps NaN.
        steepest = float(np.max(np.abs(self.slope), initial=1.0))
        return steepest if math.isfinite(steepest) else math.inf

    def prove_contraction(self, norm: str, shape: SampleShape) -> float:
        if self.limit is not None:
            return 0.0
        # A negative slope folds the line.
        least = float(np.min(np.asarray(self.slope), initial=1.0))
        return max(0.0, multiply_down(least, CONSTANT_SLACK))

    def enclose(self, inputs: list[Enclosure], machine: Machine) -> Enclosure:
        (source,) = inputs
        outputs = super().enclose(inputs, machine)
        if not np.any(self.slope):
            return outputs
        steepest = float(np.max(np.abs(self.slope)))
        below = np.abs(self.slope * np.minimum(source.value, 0.0))
        rate = None
        if machine.sharp:
            rate = max(
                constant_rate(float(number), 2, machine.arithmetic)
                for number in np.unique(self.slope)
            )
        return outputs.with_rounding(
            machine,
            upward.multiply(upward.sample_norms(below), 1 + 2.0**-50),
            3,
            upward.multiply(source.spread, steepest),
            rate=rate,
        )

    def to_keras(self, inputs: list[Tensor], dtype: str, **kwargs: Any) -> Any:
        name = kwargs.get("name")
        if isinstance(self.slope, np.ndarray):
            slopes = self.slope
            layer = keras.layers.PReLU(
                shared_axes=[
                    axis + 1
                    for axis, size in enumerate(slopes.shape)
                    if size == 1 and inputs[0].shape[axis + 1] != 1
                ]
                or None,
                dtype=dtype,
                name=name,
            )
            outputs = layer(inputs[0])
            layer.set_weights([slopes])
            return outputs
        return keras.layers.ReLU(
            max_value=self.limit,
            negative_slope=float(self.slope),
            dtype=dtype,
            name=name,
        )(inputs[0])


@dataclasses.dataclass(frozen=True, eq=False)
class ExponentialLinear(Node):
    """Applies `x` above zero, and `alpha (exp(x) - 1)` below.

    Attributes:
        alpha: Float.
    """

    alpha: float

    def apply(self, *inputs: Array) -> Array:
        (x,) = inputs
        return np.where(x > 0, x, self.alpha * np.expm1(np.minimum(x, 0.0)))

    def pull_back(self, upstream: Array, *inputs: Array) -> Sequence[Array]:
        (x,) = inputs
        below = self.alpha * np.exp(np.minimum(x, 0.0))
        return (upstream * np.where(x > 0, 1.0, below),)

    def prove(self, norm: str, shape: SampleShape) -> float:
        return max(1.0, abs(self.alpha))

    def enclose(self, inputs: list[Enclosure], machine: Machine) -> Enclosure:
        if machine.sharp:
            raise Unaccounted("the accuracy of its exponential is unknown")
        (source,) = inputs
        value = self.apply(source.value)
        constant = self.constant("l2", None)
        moduli = upward.add(
            upward.sample_norms(value),
            upward.multiply(upward.sample_norms(source.value), constant),
        )
        outputs = source.with_value(value, constant)
        return outputs.with_rounding(machine, moduli, 64)

    def to_keras(self, inputs: list[Tensor], dtype: str, **kwargs: Any) -> Any:
        return keras.layers.ELU(
            self.alpha, dtype=dtype, name=kwargs.get("name")
        )(inputs[0])


@dataclasses.dataclass(frozen=True, eq=False)
class Softmax(Node):
    """Normalizes exponentials along the last axis.

    The norm of the Jacobian `diag(p) - p p^T` is at most `1 / 2`, in l2 and in
    l-infinity: its absolute row sums are `2 p (1 - p)`.
    """

    def apply(self, *inputs: Array) -> Array:
        (x,) = inputs
        powers = np.exp(x - np.max(x, axis=-1, keepdims=True))
        return powers / np.sum(powers, axis=-1, keepdims=True)

    def pull_back(self, upstream: Array, *inputs: Array) -> Sequence[Array]:
        p = self.apply(*inputs)
        mean = np.sum(p * upstream, axis=-1, keepdims=True)
        return (p * (upstream - mean),)

    def prove(self, norm: str, shape: SampleShape) -> float:
        return 0.5

    def enclose(self, inputs: list[Enclosure], machine: Machine) -> Enclosure:
        if machine.sharp:
            raise Unaccounted("the accuracy of its exponential is unknown")
        (source,) = inputs
        value = self.apply(source.value)
        # A difference of inputs has one rounding error, which the exponential
        # propagates. A sum over the classes follows.
        moduli = upward.add(
            upward.multiply(upward.sample_norms(source.value), 2.0),
            upward.multiply(upward.sample_norms(value), 2.0),
        )
        outputs = source.with_value(value, 0.5)
        return outputs.with_rounding(machine, moduli, value.shape[-1] + 64)

    def to_keras(self, inputs: list[Tensor], dtype: str, **kwargs: Any) -> Any:
        return keras.layers.Softmax(dtype=dtype, name=kwargs.get("name"))(
            inputs[0]
        )


def find_function(activation: Any) -> str | None:
    """Returns the name of a known Keras activation function, or `None`.

    The function is recognized by identity, not by its name.
    """
    if not callable(activation):
        return None
    name = getattr(activation, "__name__", "")
    same = getattr(activations, name, None) is activation
    return name if same and name in FUNCTIONS else None
