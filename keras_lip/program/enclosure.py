"""One tensor of a program, and how far any execution of it may be off.

**The running error bound.** Let `f` be the exact function from the input to a
tensor of the program, `value` what the host computes in float64 at `x`, and `F`
any execution of it in some arithmetic. Layer by layer the enclosure bounds, for
every `0 <= e <= limit` and every `x'` within `e` of `x` in the l2 norm,

1. `|value - f(x)| <= center`;
2. `|f(x') - f(x)| <= drift[0] + drift[1] e`;
3. `|F(x') - f(x')| <= error[0] + error[1] e`.

A node `g` of Lipschitz constant `L` takes an error `E` of its input to `L E`,
and adds what it rounds itself:

4. an affine map `A x + b` of `n` terms a sum rounds at most
   `gamma_n (|A| |x| + |b|)`, entry by entry, in any order of summation
   (Higham, 2002, section 3.1), where `gamma_n = n u / (1 - n u)`;
5. what moves, compares or drops entries rounds nothing, but may flush
   subnormal numbers to zero;
6. a sum of tensors is an affine map of as many terms; a function of one number
   rounds what its node states.

So `center` follows from the numbers that went through, biases and constants
included, never from the input alone: biases that cancel in the end leave the
error that they made on the way. In 4 the norm of `|A| |x|` is either computed
(`sharp`), or bounded by `| |A| | |x|`, which costs nothing.

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
    """Which executions are enclosed, and how closely.

    Attributes:
        arithmetic: The `Arithmetic` that executions run in.
        sharp: Boolean. Whether moduli are summed (term 4), and `drift`, `error`
            and `limit` hold of everything within a distance. If false, `error`
            is what an ordinary execution at `x` itself may be expected to be
            off by, for comparisons with a live model: no proof rests on it.
    """

    arithmetic: Arithmetic
    sharp: bool


@dataclasses.dataclass(frozen=True)
class Enclosure:
    """A tensor at a batch of inputs; see the module for the meaning.

    Attributes:
        value: Float64 array of shape `(num_samples, ...)`.
        center: Array of shape `(num_samples,)`.
        drift: Array of shape `(2, num_samples)`.
        error: Array of shape `(2, num_samples)`.
        limit: Array of shape `(num_samples,)`. The distance up to which nothing
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
        """Passes on to the output of an exact function of a constant."""
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
        """Adds the roundings of the operation that computed `value`.

        Args:
            machine: The `Machine`.
            moduli: Array of shape `(num_samples,)`. The norm of the moduli that
                the operation adds up, where `value` was computed.
            roundings: Integer. How many roundings a term goes through.
            spread: Array of shape `(2, num_samples)`. By how much the moduli
                may be larger in an execution.
            typical: Array of shape `(num_samples,)`. What stands for `moduli`
                in an ordinary execution. Defaults to the same.
            rate: Float. How much an execution errs, relative to the moduli,
                where that is not known from the roundings.
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
            # Moduli of a quarter of the range leave room for their roundings.
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
        """Adds what a comparison loses if it reads small numbers as zero."""
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
        """Makes the enclosure of a block's input, as if it were a program's.

        What an execution feeds into the block is exact by definition: it is
        another point within `spread` of `value`.
        """
        return dataclasses.replace(
            self,
            center=np.zeros_like(self.center),
            drift=self.spread,
            error=np.zeros_like(self.error),
        )

    def grow(self, outputs: "Enclosure", constant: float) -> "Enclosure":
        """Adds what a block rounds to what its input's errors grow to.

        With the block's exact function `g` and any execution `G` of it,
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
    """Makes the enclosure of a program's input.

    The input is rounded as an execution receives it, so that what is proven
    holds of every `x'`, not only of those that the arithmetic can represent.
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
    # The host reads the input as it is.
    return dataclasses.replace(rounded, center=zeros[0])


def join_enclosures(inputs: Sequence[Enclosure], value: Array) -> Enclosure:
    """Makes the enclosure of what moves no further than all inputs together."""
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
    """Bounds what underflow adds to the moduli that make up a tensor.

    Each of an entry's products and sums loses at most the smallest normal
    number, twice if its operands are flushed as well, and later roundings no
    more than double this.
    """
    size = float(value[0].size) if len(value) else 0.0
    return 8.0 * roundings * arithmetic.underflow * (1.0 + size)
