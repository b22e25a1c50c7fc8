"""A recurrence over the steps of a sequence."""

import dataclasses
import math

import numpy as np

from keras_lip.program.node import Node
from keras_lip.program.node import SampleShape
from keras_lip.program.nodes.composite import Composite
from keras_lip.program.nodes.dense import Dense
from keras_lip.program.nodes.merges import Combine
from keras_lip.program.nodes.merges import Concatenate
from keras_lip.program.nodes.selections import EVERYWHERE
from keras_lip.program.nodes.selections import Reshape
from keras_lip.program.nodes.selections import Slice
from keras_lip.proofs.matrix_norms import spectral_norm_bound
from keras_lip.proofs.rounding import add_up
from keras_lip.proofs.rounding import hypot_up
from keras_lip.proofs.rounding import multiply_up

# For longer sequences the norm of the matrix of all steps is bounded by its
# sums.
_LONGEST = 1024


@dataclasses.dataclass(frozen=True, eq=False)
class Recurrence(Composite):
    """Computes `h_t = s(recurrent(h_{t-1}) + inward(x_t))`, with `h_0 = 0`.

    Let `u` and `w` be the constants of `recurrent` and `inward` times the
    constant of `s`. If the inputs of step `t` differ by `e_t`, its states
    differ by at most `d_t <= u d_{t-1} + w e_t`, so

        d_t <= w sum_{k <= t} u^(t - k) e_k.

    The last state has the constant `w sqrt(sum_{k < T} u^(2 k))` in the whole
    sequence, by the Cauchy-Schwarz inequality: `sqrt(T)` for `u = w = 1`. The
    sequence of all states has the norm of the triangular matrix of the numbers
    `w u^(t - k)`: `1 / (2 sin(pi / (4 T + 2)))` for `u = w = 1`, about `0.64
    T`. Both are attained, for example by `s(x) = x` and identities.

    Attributes:
        inward: The `Dense` from an input.
        recurrent: The `Dense` from the previous state, without a bias.
        activation: The node `s`, which acts on tensors of shape `(1, units)`.
        length: Positive integer `T`.
        sequences: Boolean. Whether to return all states, not only the last.
    """

    norms = ("l2",)

    inward: Dense
    recurrent: Dense
    activation: Node
    length: int
    sequences: bool

    def expand(self) -> list[tuple[Node, tuple[int, ...]]]:
        parts: list[tuple[Node, tuple[int, ...]]] = []
        states: list[int] = []
        for step in range(self.length):
            parts.append((Slice(((step, step + 1, None), EVERYWHERE)), (0,)))
            parts.append((self.inward, (len(parts),)))
            if states:
                driven = len(parts)
                parts.append((self.recurrent, (states[-1],)))
                parts.append((Combine((1.0, 1.0)), (driven, len(parts))))
            parts.append((self.activation, (len(parts),)))
            states.append(len(parts))
        if self.sequences:
            parts.append((Concatenate(0), tuple(states)))
        else:
            units = self.recurrent.kernel.shape[1]
            parts.append((Reshape((units,)), (states[-1],)))
        return parts

    def prove(self, norm: str, shape: SampleShape) -> float:
        slope = self.activation.constant(norm, None)
        recurrent = multiply_up(slope, self.recurrent.constant(norm, None))
        inward = multiply_up(slope, self.inward.constant(norm, None))
        powers = [inward]
        for _ in range(self.length - 1):
            powers.append(multiply_up(powers[-1], recurrent))
        if not all(map(math.isfinite, powers)):
            return math.inf
        if not self.sequences:
            return hypot_up(*powers)
        if self.length > _LONGEST:
            # Its largest sums of a row and of a column.
            return add_up(*powers)
        rows = np.arange(self.length)
        lags = rows[:, None] - rows
        # Larger entries only increase the norm of a non-negative matrix.
        matrix = np.where(lags >= 0, np.array(powers)[np.abs(lags)], 0.0)
        return spectral_norm_bound(matrix)
