"""Nodes with several inputs: sums, concatenations and maxima."""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lip.program import upward
from keras_lip.program.arithmetic import constant_rate
from keras_lip.program.enclosure import Enclosure
from keras_lip.program.enclosure import Machine
from keras_lip.program.enclosure import join_enclosures
from keras_lip.program.node import CONSTANT_SLACK
from keras_lip.program.node import Node
from keras_lip.program.node import SampleShape
from keras_lip.proofs.rounding import add_up
from keras_lip.proofs.rounding import hypot_up
from keras_lip.proofs.rounding import multiply_down
from keras_lip.proofs.rounding import multiply_up
from keras_lip.types import Array
from keras_lip.types import Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class Combine(Node):
    """Computes `sum(w_i x_i)` of tensors of the same shape.

    Attributes:
        weights: Tuple of floats, one for each input. Weights that are not
            float32 numbers may be rounded at inference.
        gross: Tuple of floats. For each weight, the sum of absolute values of
            the terms that were added to obtain it. At inference every term is
            rounded, even if terms cancel.
    """

    weights: tuple[float, ...]
    gross: tuple[float, ...] = ()

    @property
    def sizes(self) -> list[float]:
        """Upper bounds on the absolute values of the weights."""
        return [
            abs(weight)
            if float(np.float32(weight)) == weight
            else math.nextafter(abs(weight), math.inf)
            for weight in self.weights
        ]

    @property
    def least_sizes(self) -> list[float]:
        """Lower bounds on the absolute values of the weights."""
        return [
            1.0
            if abs(weight) == 1
            else multiply_down(abs(weight), CONSTANT_SLACK)
            for weight in self.weights
        ]

    def why_unfit(self, *shapes: SampleShape) -> str | None:
        return why_broadcast(shapes)

    def apply(self, *inputs: Array) -> Array:
        terms = (
            x if weight == 1 else weight * x
            for weight, x in zip(self.weights, inputs, strict=True)
        )
        return functools.reduce(np.add, terms)

    def pull_back(self, upstream: Array, *inputs: Array) -> Sequence[Array]:
        return [weight * upstream for weight in self.weights]

    def propagate(
        self, norm: str, bounds: Sequence[float], shapes: Sequence[SampleShape]
    ) -> float:
        return add_up(*map(multiply_up, self.sizes, bounds))

    def enclose(self, inputs: list[Enclosure], machine: Machine) -> Enclosure:
        sizes = self.sizes

        def total(parts: list[Array]) -> Array:
            return upward.add(*map(upward.multiply, parts, sizes))

        # The weight and the product may be rounded.
        roundings = len(inputs) + (1 if set(sizes) <= {1.0} else 3)
        rate = None
        if machine.sharp:
            # Some backends round constants to float32.
            rate = max(
                constant_rate(weight, roundings, machine.arithmetic)
                for weight in self.weights
            )
        outputs = Enclosure(
            self.apply(*(each.value for each in inputs)),
            total([each.center for each in inputs]),
            total([each.drift for each in inputs]),
            total([each.error for each in inputs]),
            np.min([each.limit for each in inputs], axis=0),
        )
        if self.gross:
            sizes = [max(pair) for pair in zip(sizes, self.gross, strict=True)]
        return outputs.with_rounding(
            machine,
            total([upward.sample_norms(each.value) for each in inputs]),
            roundings,
            total([each.spread for each in inputs]),
            rate=rate,
        )

    def to_keras(self, inputs: list[Tensor], dtype: str, **kwargs: Any) -> Any:
        layers, name = keras.layers, kwargs.get("name")
        if self.weights == (1.0, -1.0):
            return layers.Subtract(dtype=dtype, name=name)(inputs)
        terms = [
            x if weight == 1 else layers.Rescaling(weight, dtype=dtype)(x)
            for weight, x in zip(self.weights, inputs, strict=True)
        ]
        if len(terms) == 1:
            return terms[0]
        return layers.Add(dtype=dtype, name=name)(terms)


def why_broadcast(shapes: Sequence[SampleShape]) -> str | None:
    """Says why tensors would be broadcast against each other, or `None`."""
    known = [shape for shape in shapes if shape is not None]
    if len({len(shape) for shape in known}) <= 1 and all(
        len({size for size in sizes if size is not None}) <= 1
        for sizes in zip(*known, strict=True)
    ):
        return None
    return "tensors of different shapes would be broadcast"


@dataclasses.dataclass(frozen=True, eq=False)
class Join(Node):
    """A node that is 1-Lipschitz in its joint inputs.

    The program bounds inputs that are parts of one tensor together.
    """

    def propagate(
        self, norm: str, bounds: Sequence[float], shapes: Sequence[SampleShape]
    ) -> float:
        return hypot_up(*bounds) if norm == "l2" else max(bounds)

    def enclose(self, inputs: list[Enclosure], machine: Machine) -> Enclosure:
        value = self.apply(*(each.value for each in inputs))
        return join_enclosures(inputs, value).with_flushing(machine)


@dataclasses.dataclass(frozen=True, eq=False)
class Concatenate(Join):
    """Concatenates tensors.

    Attributes:
        axis: Integer. Axis of a sample.
    """

    axis: int

    def apply(self, *inputs: Array) -> Array:
        return np.concatenate(inputs, axis=self.axis + 1)

    def pull_back(self, upstream: Array, *inputs: Array) -> Sequence[Array]:
        sizes = [each.shape[self.axis + 1] for each in inputs]
        return np.split(upstream, np.cumsum(sizes)[:-1], axis=self.axis + 1)

    def output_shape(self, *shapes: SampleShape) -> SampleShape:
        if any(shape is None for shape in shapes):
            return None
        sizes = [shape[self.axis] for shape in shapes if shape is not None]
        result = list(shapes[0] or ())
        known = [size for size in sizes if size is not None]
        result[self.axis] = sum(known) if len(known) == len(sizes) else None
        return tuple(result)

    def to_keras(self, inputs: list[Tensor], dtype: str, **kwargs: Any) -> Any:
        return keras.layers.Concatenate(
            axis=self.axis + 1, dtype=dtype, name=kwargs.get("name")
        )(inputs)


@dataclasses.dataclass(frozen=True, eq=False)
class Extremum(Join):
    """Computes the elementwise maximum or minimum of tensors.

    Attributes:
        largest: Boolean.
    """

    largest: bool

    def why_unfit(self, *shapes: SampleShape) -> str | None:
        return why_broadcast(shapes)

    def apply(self, *inputs: Array) -> Array:
        function = np.maximum if self.largest else np.minimum
        return functools.reduce(function, inputs)

    def pull_back(self, upstream: Array, *inputs: Array) -> Sequence[Array]:
        stacked = np.stack(inputs)
        pick = np.argmax if self.largest else np.argmin
        chosen = pick(stacked, axis=0)
        return [upstream * (chosen == i) for i in range(len(inputs))]

    def to_keras(self, inputs: list[Tensor], dtype: str, **kwargs: Any) -> Any:
        function = ops.maximum if self.largest else ops.minimum
        return functools.reduce(function, inputs)
