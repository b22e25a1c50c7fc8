"""One tensor of a model, and how far any execution of it may be off."""

import dataclasses
from collections.abc import Sequence
from typing import Any
from typing import Self

import numpy as np

from keras_lip.certificates.execution import upward
from keras_lip.certificates.execution.arithmetic import HOST
from keras_lip.certificates.execution.arithmetic import Arithmetic
from keras_lip.types import Array


@dataclasses.dataclass(frozen=True)
class Execution:
    """A tensor `g(x)` of a model, at a batch of inputs `x`.

    Let `f` be the exact function up to the tensor, and `F` any execution of it.
    For each sample, every `0 <= epsilon <= limit`, and every `x'` within
    `epsilon` of `x` in the l2 norm,

    - `|value - f(x)| <= center`,
    - `|f(x') - f(x)| <= drift[0] + drift[1] * epsilon`,
    - `|F(x') - f(x')| <= error[0] + error[1] * epsilon`,

    and nothing overflows. No order of summation is assumed of `F`, and `value`
    is computed in float64 whatever `F` runs in.

    Attributes:
        value: Float64 array of shape `(num_samples, ...)`.
        center: Array of shape `(num_samples,)`.
        drift: Array of shape `(2, num_samples)`.
        error: Array of shape `(2, num_samples)`.
        limit: Array of shape `(num_samples,)`.
        linear: The `LinearMap` that made the tensor, if one did.
        source: The input of that map.
    """

    value: Array
    center: Array
    drift: Array
    error: Array
    limit: Array
    linear: Any = None
    source: "Execution | None" = None

    @property
    def spread(self) -> Array:
        """Bounds `|F(x') - value|`, of shape `(2, num_samples)`."""
        spread = upward.add(self.drift, self.error)
        spread[0] = upward.add(spread[0], self.center)
        return spread

    def with_value(self, value: Array, scale: float = 1.0) -> Self:
        """Passes on to the output of an exact `scale`-Lipschitz function."""
        return dataclasses.replace(
            self,
            value=value,
            center=upward.multiply(self.center, scale),
            drift=upward.multiply(self.drift, scale),
            error=upward.multiply(self.error, scale),
            linear=None,
            source=None,
        )

    def with_rounding(
        self,
        rate: float,
        host_rate: float,
        local: Array,
        spread: Array | float,
        arithmetic: Arithmetic,
    ) -> Self:
        """Adds the roundings of the operation that computed `value`.

        Args:
            rate: Float. How much an execution errs, relative to the moduli that
                the operation adds up.
            host_rate: Float. The same of `value`.
            local: Array of shape `(num_samples,)`. The norm of these moduli
                where `value` was computed.
            spread: Array of shape `(2, num_samples)`. By how much it may be
                larger in an execution.
            arithmetic: The `Arithmetic` of the execution.
        """
        magnitude = upward.add(np.zeros((2, len(local))), spread)
        magnitude[0] = upward.add(magnitude[0], local)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            # Moduli of a quarter of the range leave room for their roundings.
            room = np.nextafter(arithmetic.largest / 4 - magnitude[0], -np.inf)
            limit = np.nextafter(room / magnitude[1], -np.inf)
        limit = np.where(np.isfinite(magnitude).all(axis=0), limit, 0.0)
        return dataclasses.replace(
            self,
            center=upward.add(self.center, upward.multiply(local, host_rate)),
            error=upward.add(self.error, upward.multiply(magnitude, rate)),
            limit=np.minimum(self.limit, limit),
        )

    def with_flushing(self, arithmetic: Arithmetic) -> Self:
        """Adds what a comparison loses if it reads small numbers as zero."""
        root = upward.multiply(np.sqrt(float(self.value[0].size)), 1 + 2.0**-50)
        error = self.error.copy()
        error[0] = upward.add(
            error[0], upward.multiply(root, 2 * arithmetic.smallest)
        )
        center = upward.add(
            self.center, upward.multiply(root, 2 * HOST.smallest)
        )
        return dataclasses.replace(self, center=center, error=error)


def start_execution(inputs: Array, arithmetic: Arithmetic) -> Execution:
    """Makes the execution of a model's input.

    The input is rounded as an execution receives it, so that what is proven
    holds of every `x'`, not only of those that the arithmetic can represent.
    """
    value = inputs.astype("float64")
    zeros = np.zeros((2, len(value)))
    drift = zeros.copy()
    drift[1] = 1.0
    # The host reads the input as it is.
    start = Execution(
        value, zeros[0], drift, zeros, np.full(len(value), np.inf)
    )
    local = upward.add(
        upward.sample_norms(value),
        arithmetic.underflow * (1.0 + value[0].size),
    )
    return start.with_rounding(arithmetic.unit, 0.0, local, drift, arithmetic)


def join_executions(inputs: Sequence[Execution]) -> Execution:
    """Makes the execution of several tensors side by side.

    Its value is that of the first one: `with_value` gives it its own.
    """
    return dataclasses.replace(
        inputs[0],
        center=upward.hypot(*(each.center for each in inputs)),
        # |(a + b e, c + d e)| <= |(a, c)| + |(b, d)| e.
        drift=upward.hypot(*(each.drift for each in inputs)),
        error=upward.hypot(*(each.error for each in inputs)),
        limit=np.min([each.limit for each in inputs], axis=0),
    )


def add_executions(
    inputs: Sequence[Execution], value: Array, arithmetic: Arithmetic
) -> Execution:
    """Makes the execution of a sum, or a difference, of tensors.

    Args:
        inputs: The executions of the terms, with signs of any kind.
        value: Float64 array, the sum.
        arithmetic: The `Arithmetic` of the execution.
    """
    total = dataclasses.replace(
        inputs[0],
        value=value,
        center=upward.add(*(each.center for each in inputs)),
        drift=upward.add(*(each.drift for each in inputs)),
        error=upward.add(*(each.error for each in inputs)),
        limit=np.min([each.limit for each in inputs], axis=0),
        linear=None,
        source=None,
    )
    norms = [upward.sample_norms(each.value) for each in inputs]
    roundings = len(inputs) + 1
    return total.with_rounding(
        arithmetic.gamma(roundings),
        HOST.gamma(roundings),
        upward.add(*norms, underflow_norm(value, roundings, arithmetic)),
        upward.add(*(each.spread for each in inputs)),
        arithmetic,
    )


def underflow_norm(
    value: Array, roundings: int, arithmetic: Arithmetic
) -> float:
    """Bounds what underflow adds to the moduli that make up a tensor.

    Each of an entry's products and sums loses at most the smallest normal
    number, twice if its operands are flushed as well, and later roundings no
    more than double this.
    """
    size = float(value[0].size)
    return 8.0 * roundings * arithmetic.underflow * (1.0 + size)
