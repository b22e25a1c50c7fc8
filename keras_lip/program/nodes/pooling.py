"""Maxima and norms over windows of channels-last images."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lip.program import upward
from keras_lip.program.arithmetic import HOST
from keras_lip.program.enclosure import Enclosure
from keras_lip.program.enclosure import Machine
from keras_lip.program.node import Node
from keras_lip.program.node import SampleShape
from keras_lip.program.nodes.average_pooling import GlobalPool
from keras_lip.program.nodes.average_pooling import WindowPool
from keras_lip.program.nodes.average_pooling import sum_windows
from keras_lip.program.nodes.host_convolution import pad_width
from keras_lip.proofs.rounding import multiply_up
from keras_lip.proofs.rounding import sqrt_up
from keras_lip.types import Array
from keras_lip.types import Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class MaxPool(Node):
    """Computes the maximum of each window.

    An entry is the maximum of at most as many windows as contain it, and a
    maximum changes by at most the largest change of its entries.

    Attributes:
        pool_size: Tuple of positive integers.
        strides: Tuple of positive integers.
        padding: `"valid"` or `"same"`.
    """

    depends_on_shape = True

    pool_size: tuple[int, ...]
    strides: tuple[int, ...]
    padding: str

    def _windows(
        self, shape: Sequence[int]
    ) -> list[tuple[tuple[int, int], int]]:
        found = []
        for side, size, stride in zip(
            shape, self.pool_size, self.strides, strict=False
        ):
            pair = pad_width(side, size, stride, self.padding)
            found.append((pair, (side + sum(pair) - size) // stride + 1))
        return found

    def _views(self, x: Array) -> list[Array]:
        """Returns the entries at each position of the windows."""
        windows = self._windows(x.shape[1:])
        x = np.pad(
            x,
            [(0, 0), *(pair for pair, _ in windows), (0, 0)],
            constant_values=-np.inf,
        )
        return [x[self._place(index, windows)] for index in self._places()]

    def _places(self) -> list[tuple[int, ...]]:
        return list(np.ndindex(*self.pool_size))

    def _place(self, index: tuple[int, ...], windows: Any) -> tuple[slice, ...]:
        return (
            slice(None),
            *(
                slice(i, i + (count - 1) * stride + 1, stride)
                for i, (_, count), stride in zip(
                    index, windows, self.strides, strict=True
                )
            ),
        )

    def apply(self, *inputs: Array) -> Array:
        views = self._views(inputs[0])
        result = views[0].copy()
        for view in views[1:]:
            np.maximum(result, view, out=result)
        return result

    def pull_back(self, upstream: Array, *inputs: Array) -> Sequence[Array]:
        (x,) = inputs
        chosen = np.argmax(np.stack(self._views(x)), axis=0)
        windows = self._windows(x.shape[1:])
        padded = np.zeros(
            np.array(x.shape) + [0, *(sum(pair) for pair, _ in windows), 0]
        )
        for number, index in enumerate(self._places()):
            place = self._place(index, windows)
            padded[place] += upstream * (chosen == number)
        kept = [
            slice(before, before + side)
            for ((before, _), _), side in zip(
                windows, x.shape[1:], strict=False
            )
        ]
        return (padded[(slice(None), *kept)],)

    def output_shape(self, *shapes: SampleShape) -> SampleShape:
        (shape,) = shapes
        if shape is None:
            return None
        sides = [
            None if side is None else self._windows([side] * len(shape))[i][1]
            for i, side in enumerate(shape[:-1])
        ]
        return (*sides, shape[-1])

    def prove(self, norm: str, shape: SampleShape) -> float:
        if norm == "linf":
            return 1.0
        overlap = 1
        for position, (size, stride) in enumerate(
            zip(self.pool_size, self.strides, strict=True)
        ):
            most = math.ceil(size / stride)
            side = None if shape is None else shape[position]
            if side is not None:
                pair, count = self._windows([side] * len(self.pool_size))[
                    position
                ]
                starts = np.arange(count) * stride - pair[0]
                pixels = np.arange(side)[:, None]
                inside = (starts <= pixels) & (pixels < starts + size)
                most = int(np.max(inside.sum(axis=1), initial=0))
            overlap *= most
        return sqrt_up(overlap)

    def to_keras(self, inputs: list[Tensor], dtype: str, **kwargs: Any) -> Any:
        kinds = (
            keras.layers.MaxPooling1D,
            keras.layers.MaxPooling2D,
            keras.layers.MaxPooling3D,
        )
        return kinds[len(self.pool_size) - 1](
            self.pool_size,
            self.strides,
            self.padding,
            data_format="channels_last",
            dtype=dtype,
            name=kwargs.get("name"),
        )(inputs[0])


@dataclasses.dataclass(frozen=True, eq=False)
class GlobalMax(Node):
    """Computes the maximum over whole axes, which are kept with size one.

    Attributes:
        over: Tuple of integers. Axes of a sample.
    """

    over: tuple[int, ...]

    def _axes(self) -> tuple[int, ...]:
        return tuple(axis + 1 for axis in self.over)

    def apply(self, *inputs: Array) -> Array:
        return np.max(inputs[0], axis=self._axes(), keepdims=True)

    def pull_back(self, upstream: Array, *inputs: Array) -> Sequence[Array]:
        hits = inputs[0] == self.apply(*inputs)
        count = np.sum(hits, axis=self._axes(), keepdims=True)
        return (upstream * hits / count,)

    def output_shape(self, *shapes: SampleShape) -> SampleShape:
        (shape,) = shapes
        return shape and tuple(
            1 if axis in self.over else size for axis, size in enumerate(shape)
        )

    def prove(self, norm: str, shape: SampleShape) -> float:
        return 1.0

    def to_keras(self, inputs: list[Tensor], dtype: str, **kwargs: Any) -> Any:
        return ops.max(inputs[0], axis=self._axes(), keepdims=True)


@dataclasses.dataclass(frozen=True, eq=False)
class NormPool(Node):
    """Computes `scale` times the l2 norm of each window, or of whole axes.

    A norm is 1-Lipschitz by the triangle inequality. If windows overlap, they
    share entries. The constant of the sum over windows bounds how many windows
    contain an entry.

    Attributes:
        sums: The `WindowPool` or `GlobalPool` that sums squares, with a scale
            of one.
        scale: Float.
    """

    norms = ("l2",)
    depends_on_shape = True

    sums: WindowPool | GlobalPool
    scale: float

    def apply(self, *inputs: Array) -> Array:
        return np.sqrt(self.sums.apply(np.square(inputs[0]))) * self.scale

    def pull_back(self, upstream: Array, *inputs: Array) -> Sequence[Array]:
        (x,) = inputs
        norms = np.sqrt(self.sums.apply(np.square(x)))
        quotients = upstream / np.where(norms > 0, norms, 1.0) * self.scale
        return (x * self.sums.pull_back(quotients, x)[0],)

    def output_shape(self, *shapes: SampleShape) -> SampleShape:
        return self.sums.output_shape(*shapes)

    def prove(self, norm: str, shape: SampleShape) -> float:
        if isinstance(self.sums, GlobalPool):
            return abs(self.scale)
        # Each square is counted once for each window that contains its entry.
        overlap = math.prod(
            math.ceil(size / stride)
            for size, stride in zip(
                self.sums.pool_size, self.sums.strides, strict=True
            )
        )
        return multiply_up(abs(self.scale), sqrt_up(overlap))

    def enclose(self, inputs: list[Enclosure], machine: Machine) -> Enclosure:
        (source,) = inputs
        shape = source.value.shape[1:]
        constant = self.constant("l2", shape)
        terms = sum(shape[axis] for axis in self.sums.axes(len(shape)))
        # Sums of squares, and so their square roots, have a relative error.
        outputs = source.with_value(
            self.apply(source.value), constant
        ).with_rounding(
            machine,
            upward.multiply(upward.sample_norms(source.value), constant),
            math.prod(shape[axis] for axis in self.sums.axes(len(shape)))
            + terms
            + 16,
            upward.multiply(source.spread, constant),
        )
        # Squares may be flushed to zero: in each output, `|sqrt(a) - sqrt(b)|`
        # is at most `sqrt(|a - b|)`. They must also not overflow.
        terms = math.prod(shape[axis] for axis in self.sums.axes(len(shape)))
        size = float(outputs.value[0].size) if len(outputs.value) else 0.0
        root = math.sqrt(size * terms * 8) * abs(self.scale)
        error = outputs.error.copy()
        error[0] = upward.add(
            error[0], root * math.sqrt(machine.arithmetic.smallest) * (1 + 1e-9)
        )
        center = upward.add(
            outputs.center, root * math.sqrt(HOST.smallest) * (1 + 1e-9)
        )
        limit = outputs.limit
        if machine.sharp:
            largest = math.sqrt(machine.arithmetic.largest / 8)
            start, growth = source.spread
            start = upward.add(start, upward.sample_norms(source.value))
            with np.errstate(invalid="ignore", divide="ignore"):
                room = (largest - start) / growth * (1 - 1e-12)
            limit = np.minimum(limit, np.where(np.isnan(room), 0.0, room))
        return dataclasses.replace(
            outputs, error=error, center=center, limit=limit
        )

    def to_keras(self, inputs: list[Tensor], dtype: str, **kwargs: Any) -> Any:
        (x,) = inputs
        wide = ops.cast(x, "float32") if dtype in ("float16", "bfloat16") else x
        squares = ops.square(wide)
        if isinstance(self.sums, GlobalPool):
            axes = [axis + 1 for axis in self.sums.over]
            total = ops.sum(squares, axis=axes, keepdims=True)
        else:
            total = sum_windows(
                squares,
                self.sums.pool_size,
                self.sums.strides,
                self.sums.padding,
            )
        is_zero = ops.equal(total, 0.0)
        roots = ops.sqrt(ops.where(is_zero, 1.0, total))
        outputs = ops.where(is_zero, 0.0, roots)
        if self.scale != 1:
            outputs = outputs * np.asarray(
                self.scale, "float64" if dtype == "float64" else "float32"
            )
        return ops.cast(outputs, dtype)
