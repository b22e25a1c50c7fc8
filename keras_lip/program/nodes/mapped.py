"""Applies a program to each slice of a sample."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_lip.program.contracting import bound_contraction
from keras_lip.program.enclosure import Enclosure
from keras_lip.program.enclosure import Machine
from keras_lip.program.node import Node
from keras_lip.program.node import SampleShape
from keras_lip.program.program import Program
from keras_lip.proofs.method_notes import note_method
from keras_lip.types import Array
from keras_lip.types import Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class Mapped(Node):
    """Applies a program to each slice along the first axis of a sample.

    Attributes:
        body: The `Program`, with one input.
    """

    depends_on_shape = True

    body: Program

    @property
    def norms(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.body.norms

    def _flatten(self, x: Array) -> Array:
        return x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])

    def apply(self, *inputs: Array) -> Array:
        (x,) = inputs
        outputs = self.body.run(self._flatten(x))
        return outputs.reshape(*x.shape[:2], *outputs.shape[1:])

    def pull_back(self, upstream: Array, *inputs: Array) -> Sequence[Array]:
        (x,) = inputs
        (found,) = self.body.gradient(self._flatten(upstream), self._flatten(x))
        return (found.reshape(x.shape),)

    def output_shape(self, *shapes: SampleShape) -> SampleShape:
        (shape,) = shapes
        output = self.body.output_shape
        if shape is None or output is None:
            return None
        return (shape[0], *output)

    def prove(self, norm: str, shape: SampleShape) -> float:
        # Slices are independent, so the squares of their changes add up.
        bounds = self.body.bounds(norm)
        for method in itertools.chain(*bounds.methods):
            note_method(method)
        return bounds.output

    def prove_contraction(self, norm: str, shape: SampleShape) -> float:
        return bound_contraction(self.body, norm)

    def enclose(self, inputs: list[Enclosure], machine: Machine) -> Enclosure:
        (source,) = inputs
        number, slices = source.value.shape[:2]
        constant = self.constant("l2", source.value.shape[1:])

        def spread(part: Array) -> Array:
            return np.repeat(part, slices, axis=-1)

        start = source.restart()
        each = Enclosure(
            self._flatten(start.value),
            spread(start.center),
            spread(start.drift),
            spread(start.error),
            spread(start.limit),
        )
        (found,) = self.body.enclose_from([each], machine)

        def join(part: Array) -> Array:
            total = np.sum(
                np.square(part.reshape(*part.shape[:-1], number, slices)),
                axis=-1,
            )
            return np.sqrt(total) * (1 + (slices + 8) * 2.0**-52)

        outputs = Enclosure(
            found.value.reshape(number, slices, *found.value.shape[1:]),
            join(found.center),
            join(found.drift),
            join(found.error),
            found.limit.reshape(number, slices).min(axis=1),
        )
        return source.grow(outputs, constant)

    def to_keras(self, inputs: list[Tensor], dtype: str, **kwargs: Any) -> Any:
        shape = self.body.input_shapes[0] or ()
        inner = keras.Input(shape, dtype=dtype)
        model = keras.Model(inner, self.body.to_keras([inner]))
        return keras.layers.TimeDistributed(model, name=kwargs.get("name"))(
            inputs[0]
        )
