"""The distance of groups of channels from sets."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_lip.linalg.plane_distances import DISTANCES
from keras_lip.program import upward
from keras_lip.program.enclosure import Enclosure
from keras_lip.program.enclosure import Machine
from keras_lip.program.node import Node
from keras_lip.program.node import SampleShape
from keras_lip.program.nodes.elementwise import Unaccounted
from keras_lip.proofs.rounding import inflate_up
from keras_lip.proofs.rounding import sqrt_up
from keras_lip.types import Array
from keras_lip.types import Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class Distance(Node):
    """Pools channels `i`, `c + i`, ... to their distance from a set.

    A distance is 1-Lipschitz. The distance from half-lines is scaled by the
    length of their directions. Only the distance from a point can be of more
    than two channels, one for each coordinate.

    Attributes:
        projection: Name of the kind of set.
        parameters: Tuple of float64 arrays, one row for each group of channels.
        axis: Integer. Axis of a sample.
    """

    norms = ("l2",)

    projection: str
    parameters: tuple[Array, ...]
    axis: int

    @property
    def group_size(self) -> int:
        """Number of channels that form a point."""
        return len(self.parameters) if self.projection == "point" else 2

    def _split(self, x: Array) -> list[Array]:
        moved = np.moveaxis(x, self.axis + 1, -1)
        return np.split(moved, self.group_size, axis=-1)

    def _measure(self, point: Sequence[Array]) -> Array:
        function = DISTANCES[self.projection]
        return np.asarray(function(np, *point, *self.parameters))

    def apply(self, *inputs: Array) -> Array:
        distance = self._measure(self._split(inputs[0]))
        return np.moveaxis(distance, -1, self.axis + 1)

    def pull_back(self, upstream: Array, *inputs: Array) -> Sequence[Array]:
        # Gradients are used for estimates and attacks, not for proofs.
        point = self._split(inputs[0])
        up = np.moveaxis(upstream, self.axis + 1, -1)
        step = 1e-6 * (1 + sum(map(np.abs, point)))
        parts = []
        for i, coordinate in enumerate(point):
            after, before = list(point), list(point)
            after[i], before[i] = coordinate + step, coordinate - step
            change = self._measure(after) - self._measure(before)
            parts.append(up * change / (2 * step))
        joined = np.concatenate(parts, axis=-1)
        return (np.moveaxis(joined, -1, self.axis + 1),)

    def output_shape(self, *shapes: SampleShape) -> SampleShape:
        (shape,) = shapes
        if shape is None:
            return None
        sizes = list(shape)
        size = sizes[self.axis]
        sizes[self.axis] = None if size is None else size // self.group_size
        return tuple(sizes)

    def prove(self, norm: str, shape: SampleShape) -> float:
        if not all(np.isfinite(array).all() for array in self.parameters):
            return np.inf
        if self.projection != "half_lines":
            return 1.0
        squares = sum(np.square(array) for array in self.parameters)
        return max(1.0, sqrt_up(inflate_up(float(np.max(squares)), 2)))

    def enclose(self, inputs: list[Enclosure], machine: Machine) -> Enclosure:
        if machine.sharp:
            raise Unaccounted("the accuracy of its distances is unknown")
        (source,) = inputs
        value = self.apply(source.value)
        constant = self.constant("l2", None)
        copies = value[0].size / max(len(self.parameters[0]), 1)
        size = sum(float(np.linalg.norm(each)) for each in self.parameters)
        # The computed nearest point is on the set, up to rounding, and all
        # other points of the set are at least as far. The side of a point can
        # only be wrong within such rounding errors of an edge, where the
        # distance is equally small.
        moduli = upward.add(
            upward.multiply(upward.sample_norms(source.value), 4.0),
            4.0 * size * float(np.sqrt(copies)),
        )
        outputs = source.with_value(value, constant)
        return outputs.with_rounding(machine, moduli, 254 + self.group_size)

    def to_keras(self, inputs: list[Tensor], dtype: str, **kwargs: Any) -> Any:
        (x,) = inputs
        half = dtype in ("float16", "bfloat16")
        wide = ops.cast(x, "float32") if half else x
        single = "float64" if dtype == "float64" else "float32"
        point = ops.split(wide, self.group_size, axis=self.axis + 1)
        shape = [1] * len(x.shape)
        shape[self.axis + 1] = -1
        values = [
            array.astype(single).reshape(*shape, *array.shape[1:])
            for array in self.parameters
        ]
        function = DISTANCES[self.projection]
        return ops.cast(function(ops, *point, *values), dtype)
