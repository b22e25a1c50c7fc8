"""Elementwise products and sums with constants."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_lip.program import upward
from keras_lip.program.arithmetic import constant_rate
from keras_lip.program.enclosure import Enclosure
from keras_lip.program.enclosure import Machine
from keras_lip.program.node import CONSTANT_SLACK
from keras_lip.program.node import Node
from keras_lip.program.node import SampleShape
from keras_lip.program.node import enlarges
from keras_lip.proofs.rounding import multiply_down
from keras_lip.proofs.rounding import multiply_up
from keras_lip.types import Array
from keras_lip.types import Tensor

# Allowance for the few roundings with which a constant was computed.
_SLACK = 1 + 2.0**-48


@dataclasses.dataclass(frozen=True, eq=False)
class Affine(Node):
    """Computes `scale * x + offset`.

    Attributes:
        scale: Float64 array that broadcasts with a sample, without enlarging
            it.
        offset: Float64 array of the same kind.
        exact: Boolean. Whether the constants are the exact numbers used at
            inference, instead of values computed from them by a few operations.
    """

    scale: Array
    offset: Array
    exact: bool = True

    def apply(self, *inputs: Array) -> Array:
        return inputs[0] * self.scale + self.offset

    def pull_back(self, upstream: Array, *inputs: Array) -> Sequence[Array]:
        return (upstream * self.scale,)

    def why_unfit(self, *shapes: SampleShape) -> str | None:
        if not enlarges(shapes[0], self.scale, self.offset):
            return None
        sizes = np.shape(self.scale), np.shape(self.offset)
        return f"parameters of the shapes {sizes} would be broadcast"

    def prove(self, norm: str, shape: SampleShape) -> float:
        if not (
            np.isfinite(self.scale).all() and np.isfinite(self.offset).all()
        ):
            return np.inf
        largest = float(np.max(np.abs(self.scale), initial=0.0))
        return largest if self.exact else multiply_up(largest, _SLACK)

    def prove_contraction(self, norm: str, shape: SampleShape) -> float:
        least = float(np.min(np.abs(self.scale), initial=np.inf))
        # A translation has no constant that may be rounded.
        if least == 1 and self.exact:
            return 1.0
        return multiply_down(least, CONSTANT_SLACK)

    @functools.cached_property
    def _constants(self) -> list[float]:
        numbers = np.concatenate([self.scale.ravel(), self.offset.ravel()])
        return [float(number) for number in np.unique(numbers)]

    def enclose(self, inputs: list[Enclosure], machine: Machine) -> Enclosure:
        (source,) = inputs
        value = self.apply(source.value)
        moves = self.exact and np.all(np.abs(self.scale) == 1)
        if moves and not np.any(self.offset):
            # Changing a sign has no rounding error.
            return super().enclose(inputs, machine)
        constant = self.constant("l2", None)
        moduli = np.abs(source.value * self.scale) + np.abs(self.offset)
        rate = None
        if machine.sharp:
            # Some backends round constants to float32.
            rate = max(
                constant_rate(number, 16, machine.arithmetic)
                for number in self._constants
            )
        return source.with_value(value, constant).with_rounding(
            machine,
            upward.multiply(upward.sample_norms(moduli), 1 + 2.0**-48),
            16,
            upward.multiply(source.spread, constant),
            rate=rate,
        )

    def to_keras(self, inputs: list[Tensor], dtype: str, **kwargs: Any) -> Any:
        scale, offset = self._squeeze(self.scale), self._squeeze(self.offset)
        if isinstance(scale, float) and isinstance(offset, float):
            return keras.layers.Rescaling(
                scale, offset, dtype=dtype, name=kwargs.get("name")
            )(inputs[0])
        outputs = inputs[0]
        if not isinstance(scale, float) or scale != 1:
            outputs = outputs * np.asarray(scale, dtype)
        if not isinstance(offset, float) or offset != 0:
            outputs = outputs + np.asarray(offset, dtype)
        return outputs

    @staticmethod
    def _squeeze(constants: Array) -> float | Array:
        """Returns a float if all constants are equal."""
        values = np.unique(constants)
        return float(values[0]) if len(values) == 1 else constants


def translate(offset: Array) -> Affine:
    """Returns the node that adds an offset."""
    return Affine(np.ones_like(offset), offset)
