"""Frozen programs: the operations of a model at inference, as numbers."""

import dataclasses
import hashlib
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_lip.program.arithmetic import LIVE
from keras_lip.program.bounding import ProgramBounds
from keras_lip.program.bounding import bound_steps
from keras_lip.program.enclosure import Enclosure
from keras_lip.program.enclosure import Machine
from keras_lip.program.enclosure import start_enclosure
from keras_lip.program.node import SampleShape
from keras_lip.program.node import count_entries
from keras_lip.program.node import digest_nodes
from keras_lip.program.node import hash_value
from keras_lip.program.nodes.elementwise import Unaccounted
from keras_lip.program.step import Origin
from keras_lip.program.step import Step
from keras_lip.program.writing import write_steps
from keras_lip.progress import Verbose
from keras_lip.proofs.norms import NORMS
from keras_lip.types import Array
from keras_lip.types import Tensor

# Maximal number of entries of a tensor for a chunk of samples.
_CHUNK = 2**22


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
    """The operations of a model at inference, read once as numbers.

    A program is an acyclic graph of nodes, which contain float64 arrays and
    numbers, but no layers. All proofs about a model use its program. It prints
    as a table of steps.

    Attributes:
        input_shapes: Tuple of the shapes of the inputs, without batch axis.
        input_dtypes: Tuple of the names of the inputs' dtypes.
        steps: Tuple of `Step`, each after its inputs.
        output: Index of the output, counted as in `Step.inputs`.
        origins: Tuple of `Origin`.
        roundings: Tuple of pairs of strings: a place in the model whose numbers
            have less than 32 bits, and their dtype. The steps are those of the
            real-valued function, which does not round.
    """

    input_shapes: tuple[SampleShape, ...]
    input_dtypes: tuple[str, ...]
    steps: tuple[Step, ...]
    output: int
    origins: tuple[Origin, ...] = ()
    roundings: tuple[tuple[str, str], ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 of all that proofs use: kinds, numbers, shapes, graph."""
        found: str | None = self.__dict__.get("_digest")
        if found is None:
            state = hashlib.sha256()
            digest_nodes(step.node for step in self.steps)
            hash_value(state, (self.input_shapes, self.input_dtypes))
            for step in self.steps:
                state.update(step.node.digest.encode())
                hash_value(state, (step.inputs, step.shape, step.dtype))
            hash_value(state, self.output)
            if self.roundings:
                hash_value(state, [dtype for _, dtype in self.roundings])
            found = self.__dict__["_digest"] = state.hexdigest()
        return found

    @property
    def num_inputs(self) -> int:
        """Number of inputs."""
        return len(self.input_shapes)

    @property
    def output_shape(self) -> SampleShape:
        """Shape of the output, without batch axis."""
        return self.shape_of(self.output)

    def shape_of(self, index: int) -> SampleShape:
        """Returns the shape of an input or of a step's output."""
        if index < self.num_inputs:
            return self.input_shapes[index]
        return self.steps[index - self.num_inputs].shape

    def step_of(self, index: int) -> Step | None:
        """Returns the step that computes a tensor, or `None` for an input."""
        return None if index < self.num_inputs else self[index]

    def __getitem__(self, index: int) -> Step:
        return self.steps[index - self.num_inputs]

    @property
    def norms(self) -> tuple[str, ...]:
        """The norms in which every step has a bound."""
        return tuple(
            norm
            for norm in NORMS
            if all(norm in step.node.norms for step in self.steps)
        )

    def run(self, *inputs: Array) -> Array:
        """Computes the output in float64."""
        return self.forward([np.asarray(x, "float64") for x in inputs])[-1]

    def forward(self, inputs: Sequence[Array], keep: bool = False) -> list[Any]:
        """Computes all tensors. Tensors that are not needed later are `None`.

        The last tensor is the output.
        """
        self._check_shapes([x.shape for x in inputs])
        values: list[Any] = list(inputs)
        last = {} if keep else self._last_uses()
        for number, step in enumerate(self.steps):
            arguments = [values[index] for index in step.inputs]
            # The error bounds detect overflow.
            with np.errstate(over="ignore", invalid="ignore"):
                values.append(step.node.apply(*arguments))
            for index in step.inputs:
                if last.get(index) == number:
                    values[index] = None
        return values if keep else [*values, values[self.output]]

    def _check_shapes(self, shapes: Sequence[tuple[int, ...]]) -> None:
        """Raises an error if the bounds do not hold for these input shapes."""
        for found, expected in zip(shapes, self.input_shapes, strict=True):
            if expected is None:
                continue
            fits = len(found) == len(expected) + 1 and all(
                size in (None, side)
                for side, size in zip(found[1:], expected, strict=True)
            )
            if not fits:
                raise ValueError(
                    "The bounds of this program hold for inputs of shape "
                    f"{('num_samples', *expected)}. Received: inputs of shape "
                    f"{found}"
                )

    def _last_uses(self) -> dict[int, int]:
        uses = {
            index: number
            for number, step in enumerate(self.steps)
            for index in step.inputs
        }
        uses.pop(self.output, None)
        return uses

    def gradient(self, weights: Array, *inputs: Array) -> list[Array]:
        """Returns the gradients of `sum(weights * run(*inputs))`."""
        return [
            np.zeros_like(x) if part is None else part
            for x, part in zip(
                inputs, self.gradients(weights, *inputs), strict=False
            )
        ]

    def gradients(self, weights: Array, *inputs: Array) -> list[Any]:
        """Returns the gradients with respect to all tensors.

        Returns:
            List of arrays, counted as in `Step.inputs`. `None` for a tensor on
            which the output does not depend.
        """
        values = self.forward(inputs, keep=True)
        found: list[Any] = [None] * len(values)
        found[self.output] = weights
        for number in reversed(range(len(self.steps))):
            step, upstream = self.steps[number], found[number + self.num_inputs]
            if upstream is None:
                continue
            arguments = [values[index] for index in step.inputs]
            with np.errstate(over="ignore", invalid="ignore"):
                parts = step.node.pull_back(upstream, *arguments)
            for index, part in zip(step.inputs, parts, strict=True):
                so_far = found[index]
                found[index] = part if so_far is None else so_far + part
        return found

    def bounds(
        self,
        norm: str,
        inputs: Sequence[float] | None = None,
        for_any_size: bool = False,
        verbose: Verbose = 0,
    ) -> ProgramBounds:
        """Returns upper bounds for all tensors.

        Args:
            norm: `"l2"` or `"linf"`.
            inputs: The bounds of the inputs. Defaults to `None`, for one each.
            for_any_size: Boolean. Whether the bounds of convolutions should
                hold for images of any size. Defaults to `False`, for the sizes
                of this program.
            verbose: `"auto"`, 0 or 1: whether to draw a progress bar. Defaults
                to 0.
        """
        start = [1.0] * self.num_inputs if inputs is None else list(inputs)
        return bound_steps(
            self, self.steps, self.output, norm, start, for_any_size, verbose
        )

    def enclose(
        self, x: Array, machine: Machine, keep: Sequence[int] = ()
    ) -> list[Enclosure]:
        """Encloses the output, and other tensors, at given inputs.

        Args:
            x: Array of shape `(num_samples, *input_shape)`.
            machine: The `Machine`.
            keep: Indices of tensors.

        Returns:
            List of the enclosures of the tensors `keep`, and of the output.

        Raises:
            ValueError: If the rounding errors of a step are unknown. The
                message names its layer.
        """
        sizes = [count_entries(step.shape) for step in self.steps]
        sizes.append(count_entries(self.output_shape))
        size = max(1, _CHUNK // max(sizes))
        chunks = [
            self.enclose_from(
                [start_enclosure(x[i : i + size], machine)], machine, keep
            )
            for i in range(0, max(len(x), 1), size)
        ]
        return [_concatenate(parts) for parts in zip(*chunks, strict=True)]

    def enclose_from(
        self,
        inputs: Sequence[Enclosure],
        machine: Machine,
        keep: Sequence[int] = (),
    ) -> list[Enclosure]:
        """Encloses the output from the enclosures of the inputs."""
        self._check_shapes([x.value.shape for x in inputs])
        values: list[Any] = list(inputs)
        last = self._last_uses()
        kept = set(keep)
        for number, step in enumerate(self.steps):
            try:
                with np.errstate(over="ignore", invalid="ignore"):
                    values.append(
                        step.node.enclose(
                            [values[index] for index in step.inputs], machine
                        )
                    )
            except Unaccounted as error:
                raise self._unaccounted(step, machine, str(error)) from None
            for index in step.inputs:
                if last.get(index) == number and index not in kept:
                    values[index] = None
        return [values[index] for index in (*keep, self.output)]

    def _unaccounted(
        self, step: Step, machine: Machine, why: str
    ) -> ValueError:
        if not self.origins:
            return Unaccounted(why)
        origin = self.origins[step.origin]
        return ValueError(
            f"semantics={machine.arithmetic.dtype!r} is not supported for "
            f"layer '{origin.name}' of type `{origin.kind}`: {why}. Use "
            "semantics='real'."
        )

    def to_keras(self, inputs: Sequence[Tensor]) -> Tensor:
        """Computes the output from symbolic tensors with stock layers."""
        names = [origin.name for origin in self.origins]
        return write_steps(self.steps, self.output, names, inputs)

    def ancestors(self, start: int) -> Iterator[int]:
        """Yields the indices of a tensor and of all tensors it depends on."""
        seen: set[int] = set()
        stack = [start]
        while stack:
            index = stack.pop()
            if index in seen:
                continue
            seen.add(index)
            yield index
            step = self.step_of(index)
            if step is not None:
                stack += step.inputs

    def pruned(self) -> "Program":
        """Returns the program without unused steps."""
        needed = set(self.ancestors(self.output))
        places = {index: index for index in range(self.num_inputs)}
        steps: list[Step] = []
        for number, step in enumerate(self.steps):
            index = number + self.num_inputs
            if index in needed:
                places[index] = self.num_inputs + len(steps)
                inputs = tuple(places[i] for i in step.inputs)
                steps.append(dataclasses.replace(step, inputs=inputs))
        # A layer without a needed output was merged into another node.
        numbers: dict[int, int] = {}
        origins: list[Origin] = []
        for number, origin in enumerate(self.origins):
            if origin.output in places:
                numbers[number] = len(origins)
                inputs = self._find_kept(origin.inputs, places)
                output = places[origin.output]
                origins.append(
                    dataclasses.replace(origin, inputs=inputs, output=output)
                )
        return dataclasses.replace(
            self,
            steps=tuple(
                dataclasses.replace(step, origin=numbers.get(step.origin, 0))
                for step in steps
            ),
            output=places[self.output],
            origins=tuple(origins),
        )

    def _find_kept(
        self, indices: Sequence[int], places: dict[int, int]
    ) -> tuple[int, ...]:
        """Returns the places of tensors, or of those they are made of."""
        found: dict[int, None] = {}
        stack = list(reversed(indices))
        while stack:
            index = stack.pop()
            if index in places:
                found[places[index]] = None
            else:
                stack += reversed(self[index].inputs)
        return tuple(found)

    def part(self, start: int, end: int) -> "Program | None":
        """Returns the program from one tensor to another.

        Returns:
            A `Program` with one input, or `None` if the end also depends on
            other tensors.
        """
        indices, stack = set(), [end]
        while stack:
            index = stack.pop()
            if index == start or index in indices:
                continue
            step = self.step_of(index)
            if step is None:
                return None
            indices.add(index)
            stack += step.inputs
        places = {start: 0}
        steps: list[Step] = []
        for index in sorted(indices):
            places[index] = len(steps) + 1
            inputs = tuple(places[i] for i in self[index].inputs)
            steps.append(dataclasses.replace(self[index], inputs=inputs))
        return Program(
            (self.shape_of(start),),
            (self.input_dtypes[0],),
            tuple(steps),
            places[end],
            self.origins,
            self.roundings,
        )

    def __str__(self) -> str:
        lines = [
            f"Program of {len(self.steps)} steps, SHA-256 {self.digest}",
            *(
                f"{index:>4}  input {shape} {dtype}"
                for index, (shape, dtype) in enumerate(
                    zip(self.input_shapes, self.input_dtypes, strict=True)
                )
            ),
        ]
        for number, step in enumerate(self.steps):
            name = self.origins[step.origin].name if self.origins else "-"
            lines.append(
                f"{number + self.num_inputs:>4}  {step.node.describe()} of "
                f"{list(step.inputs)} -> {step.shape} {step.dtype} ({name})"
            )
        return "\n".join([*lines, f"output: {self.output}"])


# The expected errors of an ordinary execution, for comparisons with a live
# model.
LIVE_MACHINE = Machine(LIVE, sharp=False)


def _concatenate(parts: Sequence[Enclosure]) -> Enclosure:
    if len(parts) == 1:
        return parts[0]
    return Enclosure(
        np.concatenate([part.value for part in parts]),
        np.concatenate([part.center for part in parts]),
        np.concatenate([part.drift for part in parts], axis=1),
        np.concatenate([part.error for part in parts], axis=1),
        np.concatenate([part.limit for part in parts]),
    )
