"""Builds programs node by node."""

import dataclasses
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import keras

from keras_lip.precision import is_narrow
from keras_lip.program.node import Node
from keras_lip.program.node import SampleShape
from keras_lip.program.program import Program
from keras_lip.program.recognition import recognize
from keras_lip.program.step import Origin
from keras_lip.program.step import Step

# Function that reads a layer that is part of another layer.
Reader = Callable[[Any, list["Wire"]], "Wire"]


class Builder:
    """A program under construction.

    Args:
        input_shapes: The shapes of the inputs, without batch axis.
        input_dtypes: The names of their dtypes.
        read: Function of a layer and wires that adds the layer to the program.
        proven: Boolean. Whether to replace estimated scales of layers by scales
            that are proven to be non-expansive, or `"steps"` to replace only
            the steps of convex potential blocks.
        roundings: Dict of what computes in less than 32 bits, to which more is
            added. Defaults to `None`, for a new one.
    """

    def __init__(
        self,
        input_shapes: Sequence[SampleShape],
        input_dtypes: Sequence[str],
        read: Reader,
        proven: bool | str = False,
        roundings: dict[str, str] | None = None,
    ) -> None:
        self.input_shapes = tuple(input_shapes)
        self.input_dtypes = tuple(input_dtypes)
        self.read = read
        self.proven = proven
        self.is_masked = False
        self.roundings = {} if roundings is None else roundings
        self.inputs = [Wire(self, i) for i in range(len(self.input_shapes))]
        self._steps: list[Step] = []
        self._origins: list[Origin] = []
        self.dtype = "float32"
        self._open: int | None = None

    def inside(
        self, input_shapes: Sequence[SampleShape], input_dtypes: Sequence[str]
    ) -> "Builder":
        """Returns the builder of a program that becomes part of a node."""
        return Builder(
            input_shapes,
            input_dtypes,
            self.read,
            self.proven,
            self.roundings,
        )

    def note_dtype(self, place: str, dtype: Any) -> None:
        """Remembers a place whose numbers have less than 32 bits.

        Steps do not tell all of these places: a layer may round its input and
        add no node, or be merged into the node of another layer.
        """
        if is_narrow(dtype):
            name = keras.backend.standardize_dtype(dtype)
            self.roundings.setdefault(place, name)

    def read_as(
        self, origin: Origin, dtype: str, wires: Sequence["Wire"], read: Any
    ) -> Any:
        """Adds the nodes of a layer.

        Nodes of a part of a layer belong to the layer.

        Args:
            origin: The `Origin`.
            dtype: Name of the layer's compute dtype.
            wires: The input wires.
            read: Function without arguments that adds the nodes, and returns
                the output wire or a list of output wires.
        """
        outermost, before = self._open is None, self.dtype
        if outermost:
            self._open = len(self._origins)
            self._origins.append(origin)
        self.dtype = dtype
        try:
            outputs = read()
        finally:
            self.dtype = before
            number = self._open
            if outermost:
                self._open = None
        if outermost and number is not None:
            last = outputs[-1] if isinstance(outputs, list) else outputs
            self._origins[number] = dataclasses.replace(
                origin,
                inputs=tuple(wire.index for wire in wires),
                output=last.index,
            )
        return outputs

    def step_of(self, index: int) -> Step | None:
        """Returns the step that computes a tensor, or `None` for an input."""
        number = index - len(self.input_shapes)
        return None if number < 0 else self._steps[number]

    def shape_of(self, index: int) -> SampleShape:
        """Returns the shape of a tensor."""
        step = self.step_of(index)
        return self.input_shapes[index] if step is None else step.shape

    def add(self, node: Node, wires: Sequence["Wire"]) -> "Wire":
        """Adds a node, or an equivalent node with a better bound."""
        self._check_fit(node, [wire.shape for wire in wires])
        indices = tuple(wire.index for wire in wires)
        for known, inputs in recognize(self, node, indices):
            places = tuple(
                len(self.input_shapes) + len(self._steps) - 1 if i < 0 else i
                for i in inputs
            )
            indices = (self._append(known, places),)
        return Wire(self, indices[0])

    def _check_fit(self, node: Node, shapes: list[SampleShape]) -> None:
        why = node.why_unfit(*shapes)
        if why is None:
            return
        name = self._origins[-1].name if self._origins else node.describe()
        listed = ", ".join(str((None, *(each or ()))) for each in shapes)
        raise ValueError(
            f"Layer '{name}' does not fit its inputs, so it has no known "
            f"Lipschitz bound: {why}. Received: input shape {listed}. Use a "
            "separate layer for each input shape, and do not change the "
            "arguments of a built layer."
        )

    def _append(self, node: Node, inputs: tuple[int, ...]) -> int:
        shape = node.output_shape(*(self.shape_of(i) for i in inputs))
        self._steps.append(
            Step(node, inputs, shape, self.dtype, len(self._origins) - 1)
        )
        return len(self.input_shapes) + len(self._steps) - 1

    def finish(self, output: "Wire") -> Program:
        """Returns the program without unused steps."""
        return Program(
            self.input_shapes,
            self.input_dtypes,
            tuple(self._steps),
            output.index,
            tuple(self._origins),
            tuple(self.roundings.items()),
        ).pruned()


@dataclasses.dataclass(frozen=True)
class Wire:
    """A tensor of a program under construction.

    Attributes:
        builder: The `Builder`.
        index: Integer. Index of the tensor.
    """

    builder: Builder
    index: int

    @property
    def shape(self) -> SampleShape:
        """Shape of one sample. Some or all sizes may be unknown."""
        return self.builder.shape_of(self.index)

    @property
    def proven(self) -> bool:
        """Whether to replace estimated scales by proven ones."""
        return self.builder.proven is True

    @property
    def has_proven_steps(self) -> bool:
        """Whether to replace estimated steps by proven ones."""
        return bool(self.builder.proven)

    def then(self, node: Node | None, *others: "Wire") -> "Wire":
        """Applies a node to this tensor, followed by other inputs.

        Args:
            node: The `Node`, or `None` for the identity.
            *others: Further inputs.
        """
        return self if node is None else self.builder.add(node, [self, *others])

    def through(self, layer: Any, *others: "Wire") -> "Wire":
        """Applies a layer that is part of another layer."""
        return self.builder.read(layer, [self, *others])
