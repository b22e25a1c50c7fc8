"""Layers whose bound a user has given."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from keras_lip.program.enclosure import Enclosure
from keras_lip.program.enclosure import Machine
from keras_lip.program.node import Node
from keras_lip.program.node import SampleShape
from keras_lip.program.program import Program
from keras_lip.proofs.method_notes import CLAIMED
from keras_lip.proofs.method_notes import note_method
from keras_lip.proofs.rounding import multiply_up
from keras_lip.types import Array
from keras_lip.types import Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class Claimed(Node):
    """A layer with a constant given by a user.

    Attributes:
        constants: Tuple of `(norm, constant)`: the bound of the outputs if each
            input has a bound of one.
        program: The `Program` of the layer, or `None` if it is unknown.
        target: Shape of the output.
        label: Name and class of the layer, for error messages.
    """

    constants: tuple[tuple[str, float], ...]
    program: Program | None
    target: SampleShape
    label: str = dataclasses.field(metadata={"is_label": True})

    @property
    def norms(self) -> tuple[str, ...]:  # type: ignore[override]
        return tuple(norm for norm, _ in self.constants)

    @property
    def body(self) -> Program:
        """The program of the layer.

        Raises:
            ValueError: If it is unknown.
        """
        if self.program is None:
            raise ValueError(
                f"The computation of layer {self.label} is unknown. Its bound "
                "is known, but its `call` uses more than known layers of "
                "Keras, `keras_lip.layers` and `keras.ops`. Implement `freeze` "
                "of `keras_lip.layers.LipschitzLayer`."
            )
        return self.program

    def apply(self, *inputs: Array) -> Array:
        return self.body.run(*inputs)

    def pull_back(self, upstream: Array, *inputs: Array) -> Sequence[Array]:
        return self.body.gradient(upstream, *inputs)

    def output_shape(self, *shapes: SampleShape) -> SampleShape:
        return self.target

    def propagate(
        self, norm: str, bounds: Sequence[float], shapes: Sequence[SampleShape]
    ) -> float:
        note_method(CLAIMED)
        constant = dict(self.constants)[norm]
        if not 0 <= constant < math.inf:
            return math.inf
        return multiply_up(constant, max(bounds))

    def enclose(self, inputs: list[Enclosure], machine: Machine) -> Enclosure:
        return self.body.enclose_from(inputs, machine)[0]

    def to_keras(self, inputs: list[Tensor], dtype: str, **kwargs: Any) -> Any:
        return self.body.to_keras(inputs)
