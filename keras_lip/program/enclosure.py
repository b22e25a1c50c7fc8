"""A tensor of a program, with error bounds for all its executions.

**The running error bound.** Let `f` be the exact function from the input to a
tensor of the program, `value` its value at `x` computed in float64 on the host,
and `F` any execution of it in some arithmetic. Layer by layer, the enclosure
bounds these errors for every `0 <= e <= limit` and every `x'` within `e` of `x`
in the l2 norm:

1. `|value - f(x)| <= center`;
2. `|f(x') - f(x)| <= drift[0] + drift[1] e`;
3. `|F(x') - f(x')| <= error[0] + error[1] e`.

A node `g` with Lipschitz constant `L` turns an input error `E` into at most `L
E`, and adds its own rounding error:

4. an affine map `A x + b` with `n` terms per sum has a rounding error of at
most `gamma_n (|A| |x| + |b|)`, entry by entry, in any order of summation
(Higham, 2002, section 3.1), where `gamma_n = n u / (1 - n u)`; 5. a node that
moves, compares or drops entries has no rounding error, but may flush subnormal
numbers to zero; 6. a sum of tensors is an affine map with as many terms; the
node of an elementwise function defines its rounding error.

So `center` depends on all intermediate values, including biases and constants,
and not only on the input: if biases cancel at the end, the errors that they
caused remain. In 4 the norm of `|A| |x|` is either computed (`sharp`) or
bounded by `| |A| | |x|`, which is cheap.

Reference:

- [Higham, 2002](https://doi.org/10.1137/1.9780898718027), sections 3.1 and 3.3
- [Murray, 2026](https://arxiv.org/abs/2603.13334), for dense networks
"""

import dataclasses
from collections.abc import Sequence
from typing import Self

import numpy as np

from keras_lip.program import upward
from keras_lip.program.arithmetic import HOST
from keras_lip.program.arithmetic import Arithmetic
from keras_lip.types import Array


@dataclasses.dataclass(frozen=True)
class Machine:
    """The executions to enclose, and the tightness of the enclosure.

    Attributes:
        arithmetic: The `Arithmetic` of the executions.
        sharp: Boolean. Whether absolute values are summed (item 4), and
            `drift`, `error` and `limit` hold for all inputs within a distance.
            If `False`, `error` is the expected error of an ordinary execution
            at `x`, for comparisons with a live model. No proof uses it.
    """

    arithmetic: Arithmetic
    sharp: bool


@dataclasses.dataclass(frozen=True)
class Enclosure:
    """The enclosure of a tensor at a batch of inputs, see above.

    Attributes:
        value: Float64 array of shape `(num_samples, ...)`.
        center: Array of shape `(num_samples,)`.
        drift: Array of shape `(2, num_samples)`.
        error: Array of shape `(2, num_samples)`.
        limit: Array of shape `(num_samples,)`. Distances up to which nothing
            overflows.
    """

    value: Array
    center: Array
    drift: Array
    error: Array
    limit: Array

    @property
    def spread(self) -> Array:
        """Bounds `|F(x') - value|`, of shape `(2, num_samples)`."""
        spread = upward.add(self.drift, self.error)
        spread[0] = upward.add(spread[0], self.center)
        return spread

    def with_value(self, value: Array, constant: float = 1.0) -> Self:
        """Returns the enclosure of an exact function with a known constant."""
        return dataclasses.replace(
            self,
            value=value,
            center=upward.multiply(self.center, constant),
            drift=upward.multiply(self.drift, constant),
            error=upward.multiply(self.error, constant),
        )

    def with_rounding(
        self,
        machine: Machine,
        moduli: Array,
        roundings: int,
        spread: Array | float = 0.0,
        typical: Array | None = None,
        rate: float | None = None,
    ) -> Self:
        """Adds the rounding errors of the operation that computed `value`.

        Args:
            machine: The `Machine`.
            moduli: Array of shape `(num_samples,)`. The norm of the sums of
                absolute values in the operation, at the input of `value`.
            roundings: Integer. Number of roundings of a term.
            spread: Array of shape `(2, num_samples)`. Bounds on the increase of
                `moduli` in an execution.
            typical: Array of shape `(num_samples,)`. Replaces `moduli` for an
                ordinary execution. Defaults to `None`, for `moduli`.
            rate: Float, or `None`. Error of an execution relative to `moduli`,
                if it does not follow from `roundings`.
        """
        arithmetic = machine.arithmetic
        if rate is None:
            rate = arithmetic.gamma(roundings)
        here = upward.add(moduli, underflow_norm(self.value, roundings, HOST))
        center = upward.add(
            self.center, upward.multiply(here, HOST.gamma(roundings))
        )
        moduli = upward.add(
            moduli, underflow_norm(self.value, roundings, arithmetic)
        )
        if not machine.sharp:
            typical = moduli if typical is None else typical
            error = self.error.copy()
            error[0] = upward.add(error[0], upward.multiply(typical, rate))
            return dataclasses.replace(self, center=center, error=error)
        magnitude = upward.add(np.zeros((2, len(moduli))), spread)
        magnitude[0] = upward.add(magnitude[0], moduli)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            # Values up to a quarter of the range cannot overflow by rounding.
            room = np.nextafter(arithmetic.largest / 4 - magnitude[0], -np.inf)
            limit = np.nextafter(room / magnitude[1], -np.inf)
        limit = np.where(np.isfinite(magnitude).all(axis=0), limit, 0.0)
        return dataclasses.replace(
            self,
            center=center,
            error=upward.add(self.error, upward.multiply(magnitude, rate)),
            limit=np.minimum(self.limit, limit),
        )

    def with_flushing(self, machine: Machine) -> Self:
        """Adds the error of a comparison that flushes small numbers to zero."""
        size = float(self.value[0].size) if len(self.value) else 0.0
        root = upward.multiply(np.sqrt(size), 1 + 2.0**-50)
        error = self.error.copy()
        error[0] = upward.add(
            error[0], upward.multiply(root, 2 * machine.arithmetic.smallest)
        )
        center = upward.add(
            self.center, upward.multiply(root, 2 * HOST.smallest)
        )
        return dataclasses.replace(self, center=center, error=error)

    def restart(self) -> Self:
        """Returns the enclosure of a block's input, as a new program input.

        The input that an execution gives to the block is exact by definition.
        It is another point within `spread` of `value`.
        """
        return dataclasses.replace(
            self,
            center=np.zeros_like(self.center),
            drift=self.spread,
            error=np.zeros_like(self.error),
        )

    def grow(self, outputs: "Enclosure", constant: float) -> "Enclosure":
        """Adds a block's rounding errors to the propagated errors of its input.

        Let `g` be the block's exact function and `G` any execution of it. Then
        `|G(F(x')) - g(f(x'))| <= |G(F(x')) - g(F(x'))| + L |F(x') - f(x')|`.

        Args:
            outputs: The block's enclosure, from the input's `restart`.
            constant: Float `L`. The Lipschitz constant of the block.
        """
        grown = self.with_value(outputs.value, constant)
        return dataclasses.replace(
            grown,
            center=upward.add(grown.center, outputs.center),
            error=upward.add(grown.error, outputs.error),
            limit=outputs.limit,
        )


def start_enclosure(inputs: Array, machine: Machine) -> Enclosure:
    """Returns the enclosure of a program's input.

    An execution receives a rounded input. The rounding is included, so the
    bounds hold for every `x'`, not only for those that the arithmetic can
    represent.
    """
    value = inputs.astype("float64")
    zeros = np.zeros((2, len(value)))
    drift = zeros.copy()
    drift[1] = 1.0
    start = Enclosure(
        value, zeros[0], drift, zeros, np.full(len(value), np.inf)
    )
    norms = upward.sample_norms(value)
    rounded = start.with_rounding(
        machine, norms, 1, drift, rate=machine.arithmetic.unit
    )
    # The host reads the input exactly.
    return dataclasses.replace(rounded, center=zeros[0])


def join_enclosures(inputs: Sequence[Enclosure], value: Array) -> Enclosure:
    """Returns the enclosure of a 1-Lipschitz function of joint inputs."""
    return Enclosure(
        value,
        upward.hypot(*(each.center for each in inputs)),
        # |(a + b e, c + d e)| <= |(a, c)| + |(b, d)| e.
        upward.hypot(*(each.drift for each in inputs)),
        upward.hypot(*(each.error for each in inputs)),
        np.min([each.limit for each in inputs], axis=0),
    )


def underflow_norm(
    value: Array, roundings: int, arithmetic: Arithmetic
) -> float:
    """Bounds the effect of underflow on the sums of absolute values.

    Each product and sum of an entry loses at most the smallest normal number,
    or twice as much if its operands are also flushed. Later roundings at most
    double this.
    """
    size = float(value[0].size) if len(value) else 0.0
    return 8.0 * roundings * arithmetic.underflow * (1.0 + size)
