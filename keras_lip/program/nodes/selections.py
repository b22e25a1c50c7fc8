"""Nodes that move or drop entries, or add zeros."""

import abc
import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_lip.flip import flip
from keras_lip.program.node import Node
from keras_lip.program.node import SampleShape
from keras_lip.program.node import count_entries
from keras_lip.types import Array
from keras_lip.types import Tensor

# The slice of an axis that is kept completely.
EVERYWHERE = (None, None, None)


@dataclasses.dataclass(frozen=True, eq=False)
class Selection(Node):
    """Moves each entry of the input to at most one place: 1-Lipschitz."""

    @abc.abstractmethod
    def select(self, values: Array) -> Array:
        """Selects entries of an array. Other entries of the result are zero."""

    @abc.abstractmethod
    def restore(self, upstream: Array, shape: tuple[int, ...]) -> Array:
        """Applies the adjoint of `select`."""

    def apply(self, *inputs: Array) -> Array:
        return self.select(inputs[0])

    def pull_back(self, upstream: Array, *inputs: Array) -> Sequence[Array]:
        return (self.restore(upstream, inputs[0].shape),)

    def prove(self, norm: str, shape: SampleShape) -> float:
        return 1.0

    def prove_contraction(self, norm: str, shape: SampleShape) -> float:
        if shape is None or None in shape:
            return 0.0
        # The distance is kept if no entry is dropped.
        size = count_entries(shape)
        numbers = np.arange(1, size + 1).reshape(1, *map(int, shape))  # type: ignore[arg-type]
        kept = np.unique(self.select(numbers))
        return float(np.count_nonzero(kept) == size)


@dataclasses.dataclass(frozen=True, eq=False)
class Reshape(Selection):
    """Reshapes a sample.

    Attributes:
        target: Tuple of integers. One of them may be -1.
    """

    target: tuple[int, ...]

    def select(self, values: Array) -> Array:
        if -1 not in self.target:
            return values.reshape(len(values), *self.target)
        size = math.prod(values.shape[1:])
        rest = math.prod(n for n in self.target if n != -1)
        sizes = (size // max(rest, 1) if n == -1 else n for n in self.target)
        return values.reshape(len(values), *sizes)

    def restore(self, upstream: Array, shape: tuple[int, ...]) -> Array:
        return upstream.reshape(shape)

    def output_shape(self, *shapes: SampleShape) -> SampleShape:
        (shape,) = shapes
        if -1 not in self.target:
            return self.target
        if shape is None or None in shape:
            return tuple(None if n == -1 else n for n in self.target)
        rest = math.prod(n for n in self.target if n != -1)
        whole = math.prod(n for n in shape if n is not None)
        return tuple(
            whole // max(rest, 1) if n == -1 else n for n in self.target
        )

    def to_keras(self, inputs: list[Tensor], dtype: str, **kwargs: Any) -> Any:
        target = self.output_shape(tuple(inputs[0].shape[1:])) or self.target
        sizes = [-1 if size is None else size for size in target]
        return ops.reshape(inputs[0], (-1, *sizes))


@dataclasses.dataclass(frozen=True, eq=False)
class Transpose(Selection):
    """Permutes the axes of a sample.

    Attributes:
        order: Tuple of integers. The input axis of each output axis.
    """

    order: tuple[int, ...]

    def select(self, values: Array) -> Array:
        return values.transpose(0, *(axis + 1 for axis in self.order))

    def restore(self, upstream: Array, shape: tuple[int, ...]) -> Array:
        back = np.argsort(self.order)
        return upstream.transpose(0, *(int(axis) + 1 for axis in back))

    def output_shape(self, *shapes: SampleShape) -> SampleShape:
        (shape,) = shapes
        return shape and tuple(shape[axis] for axis in self.order)

    def to_keras(self, inputs: list[Tensor], dtype: str, **kwargs: Any) -> Any:
        return ops.transpose(inputs[0], (0, *(n + 1 for n in self.order)))


@dataclasses.dataclass(frozen=True, eq=False)
class Slice(Selection):
    """Keeps a range along each axis of a sample.

    Attributes:
        ranges: Tuple of `(start, stop, step)`, as in Python's slices.
    """

    ranges: tuple[tuple[int | None, int | None, int | None], ...]

    def _slices(self) -> tuple[slice, ...]:
        return (slice(None), *(slice(*each) for each in self.ranges))

    def select(self, values: Array) -> Array:
        return values[self._slices()]

    def restore(self, upstream: Array, shape: tuple[int, ...]) -> Array:
        restored = np.zeros(shape)
        restored[self._slices()] = upstream
        return restored

    def output_shape(self, *shapes: SampleShape) -> SampleShape:
        (shape,) = shapes
        if shape is None:
            return None
        sizes = list(shape)
        for axis, each in enumerate(self.ranges):
            size = sizes[axis]
            if size is not None:
                sizes[axis] = len(range(*slice(*each).indices(size)))
            elif each != (None, None, None):
                start, stop, step = each
                fixed = start in (None, 0) and step in (None, 1)
                if not (fixed and stop is not None and stop >= 0):
                    sizes[axis] = None
        return tuple(sizes)

    def to_keras(self, inputs: list[Tensor], dtype: str, **kwargs: Any) -> Any:
        (outputs,) = inputs
        slices: list[slice] = [slice(None)]
        reversed_axes = []
        for axis, each in enumerate(self.ranges, start=1):
            kept = slice(*each)
            # PyTorch does not support negative steps.
            if each[2] is not None and each[2] < 0:
                reversed_axes.append(axis)
                kept = _forwards(each, outputs.shape[axis])
            slices.append(kept)
        if any(kept != slice(None) for kept in slices):
            outputs = outputs[tuple(slices)]
        return flip(outputs, reversed_axes)


def _forwards(each: tuple[Any, Any, Any], size: int | None) -> slice:
    """Returns the slice of the same entries in ascending order."""
    if size is None:
        if each[:2] == (None, None) and each[2] == -1:
            return slice(None)
        raise ValueError(
            "A stock form needs inputs of known shape. Build the model on a "
            "`keras.Input` with every size given."
        )
    places = range(*slice(*each).indices(size))[::-1]
    return slice(places.start, places.stop, places.step)


@dataclasses.dataclass(frozen=True, eq=False)
class Pad(Selection):
    """Adds zeros around a sample.

    Attributes:
        widths: Pairs of integers, one for each axis of a sample.
    """

    widths: tuple[tuple[int, int], ...]

    def select(self, values: Array) -> Array:
        return np.pad(values, [(0, 0), *self.widths])

    def restore(self, upstream: Array, shape: tuple[int, ...]) -> Array:
        kept = [
            slice(before, before + size)
            for (before, _), size in zip(self.widths, shape[1:], strict=True)
        ]
        return upstream[(slice(None), *kept)]

    def output_shape(self, *shapes: SampleShape) -> SampleShape:
        (shape,) = shapes
        return shape and tuple(
            None if size is None else size + sum(pair)
            for size, pair in zip(shape, self.widths, strict=True)
        )

    def to_keras(self, inputs: list[Tensor], dtype: str, **kwargs: Any) -> Any:
        return ops.pad(inputs[0], [(0, 0), *self.widths])


@dataclasses.dataclass(frozen=True, eq=False)
class SpaceToDepth(Selection):
    """Moves blocks of pixels of channels-last images into channels.

    Attributes:
        block: Tuple of positive integers. Sides of a block.
        inverse: Boolean. Whether to move channels into blocks instead.
    """

    block: tuple[int, ...]
    inverse: bool = False

    def _move(self, values: Any, xp: Any) -> Any:
        batch, rows, columns, channels = values.shape
        h, w = self.block
        number = len(values) if xp is np else -1
        if self.inverse:
            depth = channels // (h * w)
            values = xp.reshape(values, (number, rows, columns, h, w, depth))
            values = xp.transpose(values, (0, 1, 3, 2, 4, 5))
            return xp.reshape(values, (number, rows * h, columns * w, depth))
        split = (number, rows // h, h, columns // w, w, channels)
        values = xp.transpose(xp.reshape(values, split), (0, 1, 3, 2, 4, 5))
        return xp.reshape(
            values, (number, rows // h, columns // w, h * w * channels)
        )

    def select(self, values: Array) -> Array:
        return np.asarray(self._move(values, np))

    def restore(self, upstream: Array, shape: tuple[int, ...]) -> Array:
        back = dataclasses.replace(self, inverse=not self.inverse)
        return back.select(upstream)

    def output_shape(self, *shapes: SampleShape) -> SampleShape:
        (shape,) = shapes
        if shape is None:
            return None
        factors = (*self.block, math.prod(self.block))
        grows = (self.inverse, self.inverse, not self.inverse)
        return tuple(
            None if size is None else size * factor if grow else size // factor
            for size, factor, grow in zip(shape, factors, grows, strict=True)
        )

    def to_keras(self, inputs: list[Tensor], dtype: str, **kwargs: Any) -> Any:
        if None in inputs[0].shape[1:]:
            raise ValueError(
                "The stock form of an invertible downsampling needs inputs of "
                f"known shape. Received: inputs of shape {inputs[0].shape}"
            )
        return self._move(inputs[0], ops)
