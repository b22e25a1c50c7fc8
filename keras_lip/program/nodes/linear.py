"""What all affine maps share: their errors, in any order of summation."""

import abc
import dataclasses
import functools
import math
from collections.abc import Sequence

import numpy as np

from keras_lip.program import upward
from keras_lip.program.enclosure import Enclosure
from keras_lip.program.enclosure import Machine
from keras_lip.program.node import Node
from keras_lip.program.nodes.elementwise import FUNCTIONS
from keras_lip.program.nodes.elementwise import Elementwise
from keras_lip.types import Array


@dataclasses.dataclass(frozen=True, eq=False)
class Linear(Node):
    """Computes `A x + bias`, where the numbers of `A` are those of a kernel.

    Each entry is within `gamma_n (|A| |x| + |b|)` of the exact one, for the
    number `n` of terms in a sum and one more (term 4 of the error bound).

    Attributes:
        kernel: Float64 array.
        bias: Float64 array of one number for each index of the last axis, or
            `None`.
    """

    kernel: Array
    bias: Array | None

    @abc.abstractmethod
    def matvec(self, inputs: Array, kernel: Array) -> Array:
        """Applies the linear map of a kernel of this shape."""

    @abc.abstractmethod
    def adjoint(self, outputs: Array, shape: tuple[int, ...]) -> Array:
        """Applies the adjoint, to inputs of a shape."""

    @property
    @abc.abstractmethod
    def terms(self) -> int:
        """Number of products in a sum."""

    @property
    @abc.abstractmethod
    def repeats(self) -> int:
        """In how many outputs of one filter an input may occur."""

    @abc.abstractmethod
    def prove_moduli(self) -> float:
        """Bounds the l2 norm of the map with the moduli of the kernel."""

    @property
    def offset(self) -> Array | float:
        """The bias, as it is added to outputs."""
        return 0.0 if self.bias is None else self.bias

    def apply(self, *inputs: Array) -> Array:
        return self.matvec(inputs[0], self.kernel) + self.offset

    def pull_back(self, upstream: Array, *inputs: Array) -> Sequence[Array]:
        return (self.adjoint(upstream, inputs[0].shape[1:]),)

    def fuses(self, *following: Node) -> str | None:
        """Returns the activation of Keras that a layer may apply itself."""
        (node,) = following or (None,)
        if isinstance(node, Elementwise) and node.function in FUNCTIONS:
            return node.function
        return None

    @functools.cached_property
    def frobenius(self) -> float:
        """Bounds the norm of the map of moduli, quickly."""
        squares = upward.sample_norms(self.kernel.reshape(1, -1))
        return float(upward.multiply(squares, math.sqrt(self.repeats))[0])

    @functools.cached_property
    def moduli_norm(self) -> float:
        """Bounds the norm of the map of moduli, tightly."""
        # Room for weights so small that they are flushed to zero, all in all.
        flushed = self.kernel.size * 2.0**-100
        return float(upward.add(self.prove_moduli(), flushed))

    def magnitude(self, value: Array, machine: Machine) -> Array:
        """Returns the sum of moduli of each entry, from above."""
        # A weight that is flushed to zero is off by less than its modulus here.
        moduli = np.abs(self.kernel) + machine.arithmetic.underflow
        sums = self.matvec(np.abs(value), moduli) + np.abs(self.offset)
        return upward.multiply(sums, 1 + (self.terms + 5) * 2.0**-51)

    def enclose(self, inputs: list[Enclosure], machine: Machine) -> Enclosure:
        (source,) = inputs
        value = self.apply(source.value)
        constant = self.constant("l2", source.value.shape[1:])
        outputs = source.with_value(value, constant)
        roundings = self.terms + 2
        if machine.sharp:
            return outputs.with_rounding(
                machine,
                upward.sample_norms(self.magnitude(source.value, machine)),
                roundings,
                upward.multiply(source.spread, self.moduli_norm),
            )
        size = upward.sample_norms(source.value)
        offset = 0.0
        if self.bias is not None:
            copies = value[0].size / max(self.bias.size, 1) if len(value) else 1
            offset = float(np.linalg.norm(self.bias)) * math.sqrt(copies)
            offset *= 1 + (self.bias.size + 8) * 2.0**-52
        # The sums of an ordinary execution are not of moduli.
        share = constant + self.frobenius / math.sqrt(roundings)
        # Weights that are flushed to zero are off by more than roundings.
        count = self.kernel.size * self.repeats
        share += machine.arithmetic.underflow * math.sqrt(count)
        return outputs.with_rounding(
            machine,
            upward.add(upward.multiply(size, self.frobenius), offset),
            roundings,
            typical=upward.add(upward.multiply(size, share), offset),
        )
