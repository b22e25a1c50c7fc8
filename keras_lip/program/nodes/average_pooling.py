"""Averages and sums over windows of images or over whole axes."""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lip.program.node import SampleShape
from keras_lip.program.nodes.axis_linear import SLACK
from keras_lip.program.nodes.axis_linear import AxisLinear
from keras_lip.program.nodes.host_convolution import pad_width
from keras_lip.proofs.rounding import multiply_up
from keras_lip.proofs.rounding import sqrt_up
from keras_lip.types import Array
from keras_lip.types import Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class WindowPool(AxisLinear):
    """Averages or sums over windows of channels-last images.

    Attributes:
        pool_size: Tuple of positive integers.
        strides: Tuple of positive integers.
        padding: `"valid"` or `"same"`; `"edge"` to pad with border pixels; or
            `"torch"` for Keras's behaviour on PyTorch, which is `"edge"` if the
            padding of any axis differs between its two sides, and otherwise
            `"same"`.
        scale: Float, the factor of sums, or `None` for averages over the pixels
            of a window inside the image, as in Keras.
    """

    pool_size: tuple[int, ...]
    strides: tuple[int, ...]
    padding: str
    scale: float | None

    @property
    def num_axes(self) -> int:
        return len(self.pool_size)

    @property
    def factor(self) -> float:
        return 1.0 if self.scale is None else self.scale

    def axes(self, ndim: int) -> tuple[int, ...]:
        return tuple(range(len(self.pool_size)))

    def num_terms(self, shape: tuple[int, ...]) -> int:
        return math.prod(self.pool_size)

    def _at(self, sides: Sequence[int]) -> "WindowPool":
        """Returns the pooling for images of given sides."""
        pairs = [
            pad_width(side, width, stride, "same")
            for side, width, stride in zip(
                sides, self.pool_size, self.strides, strict=True
            )
        ]
        uneven = any(before != after for before, after in pairs)
        return dataclasses.replace(self, padding="edge" if uneven else "same")

    def apply(self, *inputs: Array) -> Array:
        if self.padding == "torch":
            return self._at(inputs[0].shape[1:-1]).apply(*inputs)
        return super().apply(*inputs)

    def pull_back(self, upstream: Array, *inputs: Array) -> Sequence[Array]:
        if self.padding == "torch":
            return self._at(inputs[0].shape[1:-1]).pull_back(upstream, *inputs)
        return super().pull_back(upstream, *inputs)

    def prove(self, norm: str, shape: SampleShape) -> float:
        if self.padding != "torch":
            return super().prove(norm, shape)
        if shape is not None and None not in shape[:-1]:
            return self._at([size or 0 for size in shape[:-1]]).prove(
                norm, shape
            )
        return max(
            dataclasses.replace(self, padding=padding).prove(norm, shape)
            for padding in ("same", "edge")
        )

    def matrix(self, position: int, size: int) -> Array:
        width, stride = self.pool_size[position], self.strides[position]
        before, after = pad_width(size, width, stride, self.padding)
        starts = np.arange(0, size + before + after - width + 1, stride)
        pixels = np.arange(size) + before
        inside = (starts[:, None] <= pixels) & (
            pixels < starts[:, None] + width
        )
        matrix = inside.astype("float64")
        if self.padding == "edge":
            places = np.clip(
                np.arange(size + before + after) - before, 0, size - 1
            )
            matrix = np.zeros((len(starts), size))
            for row, start in zip(matrix, starts, strict=True):
                np.add.at(row, places[start : start + width], 1.0)
        if self.scale is None:
            matrix /= matrix.sum(axis=1, keepdims=True)
        return matrix

    def open_constant(self, norm: str, position: int) -> float:
        width, stride = self.pool_size[position], self.strides[position]
        if norm == "linf":
            return 1.0 if self.scale is None else float(width)
        if self.scale is not None:
            # A pixel in position `r` modulo the stride lies in at most `n_r`
            # windows. The rows of `S S^T` sum to at most `sum n_r^2`.
            fewest, more = divmod(width, stride)
            square = more * (fewest + 1) ** 2 + (stride - more) * fewest**2
            return sqrt_up(square)
        # The bound is `sqrt(|A|_1 |A|_inf)`, and each output is an average. A
        # column depends on the distance of its pixel from the borders, if it is
        # within one window, and on the size modulo the stride. These sizes
        # contain all possible columns. Columns of images smaller than a window
        # may have the largest sums, because the averages are of fewer pixels.
        largest = 0.0
        for size in range(1, 4 * width + 2 * stride + 1):
            columns = self.matrix(position, size).sum(axis=0)
            largest = max(largest, float(np.max(columns, initial=0.0)))
        return multiply_up(sqrt_up(multiply_up(largest, SLACK)), SLACK)

    def to_keras(self, inputs: list[Tensor], dtype: str, **kwargs: Any) -> Any:
        kinds = (
            keras.layers.AveragePooling1D,
            keras.layers.AveragePooling2D,
            keras.layers.AveragePooling3D,
        )
        if self.scale is None:
            return kinds[len(self.pool_size) - 1](
                self.pool_size,
                self.strides,
                "valid" if self.padding == "valid" else "same",
                data_format="channels_last",
                dtype=dtype,
                name=kwargs.get("name"),
            )(inputs[0])
        return sum_windows(
            inputs[0], self.pool_size, self.strides, self.padding
        ) * np.asarray(self.scale, dtype)


def sum_windows(
    images: Tensor,
    pool_size: tuple[int, ...],
    strides: tuple[int, ...],
    padding: str,
) -> Tensor:
    """Sums over windows of channels-last images.

    It uses slices, because TensorFlow's pooling does not support
    `"channels_first"` on CPUs.
    """
    widths = [
        pad_width(side, size, stride, padding)
        for side, size, stride in zip(
            images.shape[1:-1], pool_size, strides, strict=True
        )
        if padding == "same"
    ]
    if any(map(any, widths)):
        images = ops.pad(images, [(0, 0), *widths, (0, 0)])
    for axis, (size, stride) in enumerate(
        zip(pool_size, strides, strict=True), start=1
    ):
        before = (slice(None),) * axis
        # The last window ends at the end of the image, or less than a stride
        # before it.
        slices = [
            images[(*before, slice(i, (i - size + 1) or None, stride))]
            for i in range(size)
        ]
        images = functools.reduce(ops.add, slices)
    return images


@dataclasses.dataclass(frozen=True, eq=False)
class GlobalPool(AxisLinear):
    """Averages or sums over whole axes, which are kept with size one.

    Attributes:
        over: Tuple of integers. Axes of a sample.
        scale: Float, the factor of sums, or `None` for averages.
    """

    over: tuple[int, ...]
    scale: float | None

    @property
    def num_axes(self) -> int:
        return len(self.over)

    @property
    def factor(self) -> float:
        return 1.0 if self.scale is None else self.scale

    def axes(self, ndim: int) -> tuple[int, ...]:
        return self.over

    def matrix(self, position: int, size: int) -> Array:
        return np.full((1, size), 1.0 if self.scale is not None else 1 / size)

    def open_constant(self, norm: str, position: int) -> float:
        return 1.0 if self.scale is None else math.inf

    def to_keras(self, inputs: list[Tensor], dtype: str, **kwargs: Any) -> Any:
        axes = [axis + 1 for axis in self.over]
        if self.scale is None:
            return ops.mean(inputs[0], axis=axes, keepdims=True)
        total = ops.sum(inputs[0], axis=axes, keepdims=True)
        return total * np.asarray(self.scale, dtype)
