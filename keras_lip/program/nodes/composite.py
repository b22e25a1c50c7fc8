"""Nodes composed of other nodes, with a better joint bound."""

import abc
import dataclasses
import functools
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from keras_lip.program.contracting import bound_contraction
from keras_lip.program.enclosure import Enclosure
from keras_lip.program.enclosure import Machine
from keras_lip.program.node import Node
from keras_lip.program.node import SampleShape
from keras_lip.program.nodes.convolution import Convolution
from keras_lip.program.nodes.dense import Dense
from keras_lip.program.nodes.elementwise import Elementwise
from keras_lip.program.nodes.elementwise import Rectify
from keras_lip.program.nodes.linear import Linear
from keras_lip.program.nodes.merges import Combine
from keras_lip.program.program import Program
from keras_lip.program.step import Step
from keras_lip.proofs.convolution_norm_bound import tap_norm_bound
from keras_lip.proofs.matrix_norms import spectral_norm_bound
from keras_lip.proofs.residual_bound import residual_bound
from keras_lip.proofs.residual_bound import residual_contraction_bound
from keras_lip.proofs.rounding import add_up
from keras_lip.proofs.rounding import divide_up
from keras_lip.proofs.rounding import down
from keras_lip.proofs.rounding import multiply_up
from keras_lip.proofs.truncated_exponential_bound import (
    truncated_exponential_bound,
)
from keras_lip.types import Array
from keras_lip.types import Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class Composite(Node):
    """Computes the composition of its parts, with its own constant.

    An input error grows by the constant of the whole, which may be far smaller
    than the product of the constants of the parts.
    """

    @abc.abstractmethod
    def expand(self) -> list[tuple[Node, tuple[int, ...]]]:
        """Returns the parts, with the indices of their inputs.

        Index zero is the input of the composite.
        """

    @functools.cached_property
    def _parts(self) -> tuple[Step, ...]:
        return tuple(
            Step(node, inputs, None, "float64", 0)
            for node, inputs in self.expand()
        )

    @property
    def body(self) -> Program:
        """The parts as a program."""
        output = len(self._parts)
        return Program((None,), ("float64",), self._parts, output)

    def apply(self, *inputs: Array) -> Array:
        return self.body.run(*inputs)

    def pull_back(self, upstream: Array, *inputs: Array) -> Sequence[Array]:
        return self.body.gradient(upstream, *inputs)

    def output_shape(self, *shapes: SampleShape) -> SampleShape:
        found: list[SampleShape] = list(shapes)
        for step in self.body.steps:
            found.append(
                step.node.output_shape(*(found[i] for i in step.inputs))
            )
        return found[self.body.output]

    def why_unfit(self, *shapes: SampleShape) -> str | None:
        found: list[SampleShape] = list(shapes)
        for step in self.body.steps:
            inputs = [found[i] for i in step.inputs]
            why = step.node.why_unfit(*inputs)
            if why is not None:
                return why
            found.append(step.node.output_shape(*inputs))
        return None

    def prove_contraction(self, norm: str, shape: SampleShape) -> float:
        return bound_contraction(self.body, norm)

    def enclose(self, inputs: list[Enclosure], machine: Machine) -> Enclosure:
        (source,) = inputs
        constant = self.constant("l2", source.value.shape[1:])
        (inside,) = self.body.enclose_from([source.restart()], machine)
        return source.grow(inside, constant)

    def to_keras(self, inputs: list[Tensor], dtype: str, **kwargs: Any) -> Any:
        steps = tuple(
            dataclasses.replace(step, dtype=dtype) for step in self.body.steps
        )
        body = dataclasses.replace(self.body, steps=steps)
        return body.to_keras(inputs)


@dataclasses.dataclass(frozen=True, eq=False)
class Residual(Composite):
    """Computes `x - step * down(s(up(x)))`, where `down` has no bias.

    If `down` is the adjoint of `up`, up to a factor for each hidden unit, and
    the slopes of `s` are between zero and one, the constant is `max(1, step
    |up|^2 - 1)` or the bound of `residual_bound`.

    Attributes:
        up: A `Dense` or a `Convolution` without strides.
        activation: An elementwise node.
        down: A node of the same class, from the hidden units back to the
            inputs.
        step: Float.
    """

    depends_on_shape = True
    is_bounded_without_shape = True

    up: Linear
    activation: Node
    down: Linear
    step: float

    def expand(self) -> list[tuple[Node, tuple[int, ...]]]:
        return [
            (self.up, (0,)),
            (self.activation, (1,)),
            (self.down, (2,)),
            (Combine((1.0, -self.step)), (0, 3)),
        ]

    @property
    def back(self) -> Array:
        """The kernel of the adjoint of `down`."""
        kernel = self.down.kernel
        axes = tuple(range(kernel.ndim - 2))
        return np.swapaxes(np.flip(kernel, axes), -2, -1)

    def prove(self, norm: str, shape: SampleShape) -> float:
        steers = norm == "l2" and is_monotone(self.activation)
        back = self.back
        if steers and self.step >= 0 and np.array_equal(back, self.up.kernel):
            square = self.up.constant("l2", shape)
            together = add_up(multiply_up(self.step, square, square), -1.0)
            return max(1.0, together)
        together = math.inf
        if steers and self.step == 1:
            together = residual_bound(self.up.kernel, back)
            # A norm is at least the largest entry. If the product of the
            # largest entries is already too large, the norms, which take longer
            # to prove, are not needed.
            least = self.activation.constant(norm, None) * _largest_entry(back)
            if together - 1 <= least * _largest_entry(self.up.kernel):
                return together
        product = multiply_up(
            abs(self.step),
            self.activation.constant(norm, None),
            self.up.constant(norm, shape),
            self.down.constant(norm, self.up.output_shape(shape)),
        )
        return min(add_up(1.0, product), together)

    def prove_contraction(self, norm: str, shape: SampleShape) -> float:
        # The Jacobian is `I - step K D K^T`, symmetric if `down` is the adjoint
        # of `up`, so a negative step only stretches.
        steers = norm == "l2" and is_monotone(self.activation)
        if self.step <= 0 and steers:
            if np.array_equal(self.back, self.up.kernel):
                return 1.0
        least = super().prove_contraction(norm, shape)
        if self.step == 1 and steers:
            least = max(
                least, residual_contraction_bound(self.up.kernel, self.back)
            )
        return least


def _largest_entry(kernel: Array) -> float:
    return float(np.max(np.abs(kernel), initial=0.0))


def is_monotone(activation: Node) -> bool:
    """Whether the slopes of a function are between zero and one."""
    if isinstance(activation, Elementwise):
        return activation.known.monotone
    if isinstance(activation, Rectify):
        slopes = np.asarray(activation.slope)
        return bool(np.all((slopes >= 0) & (slopes <= 1)))
    return False


@dataclasses.dataclass(frozen=True, eq=False)
class _QuicklyBounded(Convolution):
    """A convolution without strides and groups, with a quick constant.

    The constant is up to twice as large as a tight one. It is for the rounding
    errors within an exponential, whose own constant is tight: there a tight one
    would take minutes instead of milliseconds.
    """

    def prove(self, norm: str, shape: SampleShape) -> float:
        if norm == "l2":
            return tap_norm_bound(self.kernel)
        return super().prove(norm, shape)


_FIELDS = dataclasses.fields(Convolution)


@dataclasses.dataclass(frozen=True, eq=False)
class Exponential(Composite):
    """Computes `x + A (x + A (x + ...) / (k + 1)) / k`, starting at some `k`.

    For `k = 1` it is the exponential `x + A x + A^2 x / 2! + ...`. For a
    skew-symmetric `A` its constant is the largest modulus of the polynomial
    over all eigenvalues that `A` can have.

    Attributes:
        generator: The `Convolution` `A`.
        terms: Positive integer. The last `k`.
        first: Positive integer. The first `k`.
    """

    norms = ("l2",)

    generator: Convolution
    terms: int
    first: int = 1

    def expand(self) -> list[tuple[Node, tuple[int, ...]]]:
        node = self.generator
        if self.is_skew:
            node = _QuicklyBounded(
                *(getattr(node, field.name) for field in _FIELDS)
            )
        parts: list[tuple[Node, tuple[int, ...]]] = []
        last = 0
        for order in range(self.terms, self.first - 1, -1):
            parts.append((node, (last,)))
            last = len(parts)
            parts.append((Combine((1.0, 1 / order)), (0, last)))
            last = len(parts)
        return parts

    @functools.cached_property
    def is_skew(self) -> bool:
        """Whether the generator is exactly the negative of its adjoint."""
        node, kernel = self.generator, self.generator.kernel
        axes = tuple(range(kernel.ndim - 2))
        adjoint = np.swapaxes(np.flip(kernel, axes), -2, -1)
        return (
            kernel.shape == adjoint.shape
            and np.array_equal(kernel, -adjoint)
            and node.bias is None
            and max(node.strides) == node.groups == 1
            and node.widths is not None
            and all(
                before == after == (span - 1) / 2
                for (before, after), span in zip(
                    node.widths, node.spans, strict=True
                )
            )
        )

    def prove_contraction(self, norm: str, shape: SampleShape) -> float:
        least = super().prove_contraction(norm, shape)
        if norm != "l2" or self.first != 1 or not self.is_skew:
            return least
        # The exponential of `i t` has the modulus one, and the rest of its
        # series is at most `|t|^(k + 1) / (k + 1)!`.
        radius = min(
            self.generator.constant("l2", None),
            tap_norm_bound(self.generator.kernel),
        )
        if not math.isfinite(radius):
            return 0.0
        order = self.terms + 1
        rest = Fraction(radius) ** order / math.factorial(order)
        return max(least, down(float(1 - rest)) if rest < 1 else 0.0)

    def to_keras(self, inputs: list[Tensor], dtype: str, **kwargs: Any) -> Any:
        (x,) = inputs
        # One layer is shared by all terms.
        layer = self.generator.make_layer(x, dtype)
        outputs = x
        for order in range(self.terms, self.first - 1, -1):
            powers = layer(self.generator.pad(outputs))
            outputs = x + (powers if order == 1 else powers / order)
        return outputs

    def prove(self, norm: str, shape: SampleShape) -> float:
        kernel = self.generator.kernel
        if self.first != 1 or not self.is_skew:
            size, bound = self.generator.constant("l2", None), 1.0
            for order in range(self.terms, self.first - 1, -1):
                part = divide_up(multiply_up(size, bound), order)
                bound = add_up(1.0, part)
            return bound
        bound = truncated_exponential_bound(self.terms, tap_norm_bound(kernel))
        if bound > 1:
            # The second bound takes seconds, so compute it only if the quick
            # bound exceeds one.
            radius = self.generator.constant("l2", None)
            bound = min(bound, truncated_exponential_bound(self.terms, radius))
        return bound


@dataclasses.dataclass(frozen=True, eq=False)
class Sandwich(Composite):
    """Computes `down(s(up(x)))` of two dense maps with a joint bound.

    Attributes:
        up: The `Dense` to the hidden units.
        activation: An elementwise node.
        down: The `Dense` from the hidden units.
        balance: Float64 array of one positive float32 number for each hidden
            unit. Any numbers give a valid bound.
    """

    norms = ("l2",)

    up: Dense
    activation: Node
    down: Dense
    balance: Array

    def expand(self) -> list[tuple[Node, tuple[int, ...]]]:
        return [(self.up, (0,)), (self.activation, (1,)), (self.down, (2,))]

    def prove(self, norm: str, shape: SampleShape) -> float:
        # Let `A` and `B` be the transposes of the kernels of `down` and `up`,
        # and `c`, `c'` two positive numbers for each hidden unit. With slopes
        # `D` of the activation, the Jacobian is `A^T D B = 2 A'^T D' B'`, where
        # the rows of `A'` and `B'` are those of `A` and `B` times `c / sqrt(2)`
        # and `c' / sqrt(2)`, and `D' = D / cc'` lies in `[0, s]` if `1 / cc'`
        # is at most `s`. Let `l = |A' A'^T + B' B'^T|`. For any `dx`, set `g =
        # sqrt(2) D' B' dx`. As `|g|^2 <= sqrt(2) s g^T B' dx`, `dy = sqrt(2)
        # A'^T g` satisfies
        #     |dy|^2 <= 2 l |g|^2 - 2 |B'^T g|^2
        #            <= 2 (sqrt(2) l s) (B'^T g)^T dx - 2 |B'^T g|^2
        #            <= (l s)^2 |dx|^2.
        # As `c` and `c'` are float32, their products with the kernels are exact
        # in float64, and so are those with each other.
        apart = multiply_up(
            self.up.constant("l2", None),
            self.activation.constant("l2", None),
            self.down.constant("l2", None),
        )
        if not is_monotone(self.activation):
            return apart
        with np.errstate(all="ignore"):
            inverse = (1 / self.balance).astype("float32").astype("float64")
            products = self.balance * inverse
            stacked = np.concatenate(
                [self.down.kernel.T * self.balance, self.up.kernel * inverse]
            )
        if not (np.isfinite(products).all() and np.min(products) > 0):
            return apart
        slope = divide_up(1.0, float(np.min(products)))
        size = spectral_norm_bound(stacked)
        return min(apart, multiply_up(0.5, slope, size, size))
