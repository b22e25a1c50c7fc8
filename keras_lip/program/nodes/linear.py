"""The base class of affine maps, with their rounding errors."""

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
from keras_lip.program.node import SampleShape
from keras_lip.program.nodes.elementwise import FUNCTIONS
from keras_lip.program.nodes.elementwise import Elementwise
from keras_lip.types import Array


@dataclasses.dataclass(frozen=True, eq=False)
class Linear(Node):
    """Computes `A x + bias`, where a kernel contains the entries of `A`.

    Each entry differs from the exact one by at most `gamma_n (|A| |x| + |b|)`,
    where `n` is the number of terms in a sum plus one (item 4 of the error
    bound).

    Attributes:
        kernel: Float64 array.
        bias: Float64 array with one number for each index of the last axis, or
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
        """Maximal number of outputs of one filter that contain an input."""

    @abc.abstractmethod
    def prove_moduli(self) -> float:
        """Bounds the l2 norm of the map of the kernel's absolute values."""

    @property
    def offset(self) -> Array | float:
        """The bias that is added to outputs."""
        return 0.0 if self.bias is None else self.bias

    def apply(self, *inputs: Array) -> Array:
        return self.matvec(inputs[0], self.kernel) + self.offset

    def pull_back(self, upstream: Array, *inputs: Array) -> Sequence[Array]:
        return (self.adjoint(upstream, inputs[0].shape[1:]),)

    @property
    def sizes(self) -> tuple[int, int]:
        """Sizes of the last axes of inputs and of outputs."""
        *_, inputs, outputs = self.kernel.shape
        return inputs, outputs

    def why_unfit(self, *shapes: SampleShape) -> str | None:
        (shape,) = shapes
        before, after = self.sizes
        if shape is not None and shape[-1:] != (before,):
            return f"the last axis of samples must have the size {before}"
        if self.bias is not None and self.bias.shape != (after,):
            return f"the bias has the shape {self.bias.shape}, not ({after},)"
        return None

    def fuses(self, *following: Node) -> str | None:
        """Returns the name of an activation that a Keras layer can fuse."""
        (node,) = following or (None,)
        if isinstance(node, Elementwise) and node.function in FUNCTIONS:
            return node.function
        return None

    @functools.cached_property
    def frobenius(self) -> float:
        """A quick bound on the norm of the map of absolute values."""
        # Reading entries in their storage order avoids a copy.
        entries = self.kernel.ravel(order="K")
        norm = upward.sample_norms(entries[None])
        return float(upward.multiply(norm, math.sqrt(self.repeats))[0])

    @functools.cached_property
    def moduli_norm(self) -> float:
        """A tight bound on the norm of the map of absolute values."""
        # Allowance for weights so small that they are flushed to zero.
        flushed = self.kernel.size * 2.0**-100
        return float(upward.add(self.prove_moduli(), flushed))

    def magnitude(self, value: Array, machine: Machine) -> Array:
        """Returns upper bounds on the sums of absolute values of each entry."""
        # The error of a weight that is flushed to zero is less than this value.
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
        # The sums of an ordinary execution are smaller than sums of absolute
        # values.
        share = constant + self.frobenius / math.sqrt(roundings)
        # The error of weights that are flushed to zero exceeds rounding errors.
        count = self.kernel.size * self.repeats
        share += machine.arithmetic.underflow * math.sqrt(count)
        return outputs.with_rounding(
            machine,
            upward.add(upward.multiply(size, self.frobenius), offset),
            roundings,
            typical=upward.add(upward.multiply(size, share), offset),
        )
