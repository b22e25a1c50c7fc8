"""How programs are written down, node by node."""

import dataclasses
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

from keras_lip.program.node import Node
from keras_lip.program.node import SampleShape
from keras_lip.program.program import Origin
from keras_lip.program.program import Program
from keras_lip.program.program import Step
from keras_lip.program.recognition import recognize

# Reads a layer that is part of another one.
Reader = Callable[[Any, list["Wire"]], "Wire"]


class Builder:
    """A program that is being written.

    Args:
        input_shapes: The shapes of the inputs, without samples.
        input_dtypes: The names of their dtypes.
        read: Function of a layer and of wires that writes the layer down.
        proven: Boolean. Whether layers that run on a scale that they estimate
            from below are written down with one that is proven to be
            non-expansive instead; `"steps"` for the steps of convex potential
            blocks alone.
    """

    def __init__(
        self,
        input_shapes: Sequence[SampleShape],
        input_dtypes: Sequence[str],
        read: Reader,
        proven: bool | str = False,
    ) -> None:
        self.input_shapes = tuple(input_shapes)
        self.input_dtypes = tuple(input_dtypes)
        self.read = read
        self.proven = proven
        self.is_masked = False
        self.inputs = [Wire(self, i) for i in range(len(self.input_shapes))]
        self._steps: list[Step] = []
        self._origins: list[Origin] = []
        self.dtype = "float32"
        self._open: int | None = None

    def read_as(
        self, origin: Origin, dtype: str, wires: Sequence["Wire"], read: Any
    ) -> Any:
        """Writes down what comes from a layer of a dtype.

        What comes from a part of a layer counts as the layer's.

        Args:
            origin: The `Origin`.
            dtype: Name of the dtype that the layer computes in.
            wires: What it is applied to.
            read: Function of nothing that writes it down, and returns the wire
                of its output, or a list of them.
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
        """Returns the step that made a tensor, or `None` for an input."""
        number = index - len(self.input_shapes)
        return None if number < 0 else self._steps[number]

    def shape_of(self, index: int) -> SampleShape:
        """Returns the shape of a tensor."""
        step = self.step_of(index)
        return self.input_shapes[index] if step is None else step.shape

    def add(self, node: Node, wires: Sequence["Wire"]) -> "Wire":
        """Applies a node, or what is known to be the same and of more use."""
        indices = tuple(wire.index for wire in wires)
        for known, inputs in recognize(self, node, indices):
            places = tuple(
                len(self.input_shapes) + len(self._steps) - 1 if i < 0 else i
                for i in inputs
            )
            indices = (self._append(known, places),)
        return Wire(self, indices[0])

    def _append(self, node: Node, inputs: tuple[int, ...]) -> int:
        shape = node.output_shape(*(self.shape_of(i) for i in inputs))
        self._steps.append(
            Step(node, inputs, shape, self.dtype, len(self._origins) - 1)
        )
        return len(self.input_shapes) + len(self._steps) - 1

    def finish(self, output: "Wire") -> Program:
        """Returns the program, without what nothing depends on."""
        return Program(
            self.input_shapes,
            self.input_dtypes,
            tuple(self._steps),
            output.index,
            tuple(self._origins),
        ).pruned()


@dataclasses.dataclass(frozen=True)
class Wire:
    """A tensor of a program that is being written.

    Attributes:
        builder: The `Builder`.
        index: Integer, which tensor it is.
    """

    builder: Builder
    index: int

    @property
    def shape(self) -> SampleShape:
        """Shape of one sample; sizes, or all of it, may not be known."""
        return self.builder.shape_of(self.index)

    @property
    def proven(self) -> bool:
        """Whether estimated scales are to be replaced by proven ones."""
        return self.builder.proven is True

    @property
    def has_proven_steps(self) -> bool:
        """Whether estimated steps are to be replaced by proven ones."""
        return bool(self.builder.proven)

    def then(self, node: Node | None, *others: "Wire") -> "Wire":
        """Applies a node to this tensor, and to others after it.

        Args:
            node: The `Node`, or `None` for nothing.
            *others: More inputs.
        """
        return self if node is None else self.builder.add(node, [self, *others])

    def through(self, layer: Any, *others: "Wire") -> "Wire":
        """Applies a layer that is part of another one."""
        return self.builder.read(layer, [self, *others])
