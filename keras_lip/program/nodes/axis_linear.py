"""Linear maps along single axes: projections, interpolations, copies."""

import abc
import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lip.program import upward
from keras_lip.program.enclosure import Enclosure
from keras_lip.program.enclosure import Machine
from keras_lip.program.node import Node
from keras_lip.program.node import SampleShape
from keras_lip.program.nodes.elementwise import Unaccounted
from keras_lip.proofs.matrix_norms import row_sum_bound
from keras_lip.proofs.matrix_norms import spectral_norm_bound
from keras_lip.proofs.rounding import multiply_up
from keras_lip.proofs.rounding import sqrt_up
from keras_lip.types import Array
from keras_lip.types import Tensor

# Allowance for a few roundings of the entries of a matrix.
SLACK = 1 + 2.0**-48


@dataclasses.dataclass(frozen=True, eq=False)
class AxisLinear(Node):
    """Multiplies each of several axes by its own matrix.

    The map is a Kronecker product of the matrices, so its norm is the product
    of their norms. For images of known sides it is computed.
    """

    depends_on_shape = True

    @abc.abstractmethod
    def axes(self, ndim: int) -> tuple[int, ...]:
        """Returns the axes of a sample that are multiplied."""

    @abc.abstractmethod
    def matrix(self, position: int, size: int) -> Array:
        """Returns the matrix `(outputs, size)` of an axis."""

    @abc.abstractmethod
    def open_constant(self, norm: str, position: int) -> float:
        """Bounds the norm of the matrix of an axis of any size."""

    @property
    def factor(self) -> float:
        """Factor of the outputs."""
        return 1.0

    def apply(self, *inputs: Array) -> Array:
        (outputs,) = inputs
        for position, axis in enumerate(self.axes(outputs.ndim - 1)):
            matrix = self.matrix(position, outputs.shape[axis + 1])
            outputs = _multiply(outputs, matrix, axis + 1)
        return outputs * self.factor

    def pull_back(self, upstream: Array, *inputs: Array) -> Sequence[Array]:
        for position, axis in enumerate(self.axes(upstream.ndim - 1)):
            matrix = self.matrix(position, inputs[0].shape[axis + 1])
            upstream = _multiply(upstream, matrix.T, axis + 1)
        return (upstream * self.factor,)

    def output_shape(self, *shapes: SampleShape) -> SampleShape:
        (shape,) = shapes
        if shape is None:
            return None
        sizes = list(shape)
        for position, axis in enumerate(self.axes(len(shape))):
            size = sizes[axis]
            if size is not None:
                sizes[axis] = len(self.matrix(position, size))
        return tuple(sizes)

    def prove(self, norm: str, shape: SampleShape) -> float:
        total = abs(self.factor)
        axes: Sequence[int | None]
        if shape is None:
            axes = [None] * self.num_axes
        else:
            axes = self.axes(len(shape))
        for position, axis in enumerate(axes):
            size = None if axis is None or shape is None else shape[axis]
            if size is None:
                known = self.open_constant(norm, position)
            else:
                matrix = self.matrix(position, size)
                known = (
                    row_sum_bound(matrix, 1)
                    if norm == "linf"
                    else spectral_norm_bound(matrix)
                )
                known = multiply_up(known, SLACK)
            total = multiply_up(total, known)
        return total

    @property
    @abc.abstractmethod
    def num_axes(self) -> int:
        """Number of axes that are multiplied."""

    def num_terms(self, shape: tuple[int, ...]) -> int:
        """Returns the number of terms of the sums over all axes."""
        return math.prod(shape[axis] for axis in self.axes(len(shape)))

    def enclose(self, inputs: list[Enclosure], machine: Machine) -> Enclosure:
        (source,) = inputs
        shape = source.value.shape[1:]
        constant = self.constant("l2", shape)
        # The numbers are non-negative, except for a projection, whose absolute
        # values sum to at most twice as much.
        moduli = upward.multiply(constant, 2.0)
        terms = self.num_terms(shape)
        return source.with_value(
            self.apply(source.value), constant
        ).with_rounding(
            machine,
            upward.multiply(upward.sample_norms(source.value), moduli),
            terms + 16,
            upward.multiply(source.spread, moduli),
        )


def _multiply(values: Array, matrix: Array, axis: int) -> Array:
    moved = np.moveaxis(values, axis, -1) @ matrix.T
    return np.moveaxis(moved, -1, axis)


@dataclasses.dataclass(frozen=True, eq=False)
class Center(AxisLinear):
    """Subtracts the mean along an axis: an orthogonal projection in l2.

    Attributes:
        axis: Integer. Axis of a sample.
    """

    norms = ("l2",)

    axis: int

    @property
    def num_axes(self) -> int:
        return 1

    def axes(self, ndim: int) -> tuple[int, ...]:
        return (self.axis,)

    def matrix(self, position: int, size: int) -> Array:
        return np.eye(size) - 1 / size

    def apply(self, *inputs: Array) -> Array:
        (values,) = inputs
        return values - np.mean(values, axis=self.axis + 1, keepdims=True)

    def prove(self, norm: str, shape: SampleShape) -> float:
        return 1.0

    def open_constant(self, norm: str, position: int) -> float:
        return 1.0

    def output_shape(self, *shapes: SampleShape) -> SampleShape:
        return shapes[0]

    def to_keras(self, inputs: list[Tensor], dtype: str, **kwargs: Any) -> Any:
        mean = ops.mean(inputs[0], axis=self.axis + 1, keepdims=True)
        return ops.subtract(inputs[0], mean)


@dataclasses.dataclass(frozen=True, eq=False)
class Upsample(AxisLinear):
    """Repeats pixels of channels-last images, or interpolates between them.

    Attributes:
        size: Tuple of positive integers. Growth factor of each axis.
        interpolation: `"nearest"` or `"bilinear"`.
    """

    size: tuple[int, ...]
    interpolation: str

    def num_terms(self, shape: tuple[int, ...]) -> int:
        terms = 2 ** len(self.size)
        if self.interpolation == "bilinear":
            # Backends compute weights from the positions of pixels, in float32,
            # with errors that grow with these.
            sides = (shape[axis] for axis in self.axes(len(shape)))
            ratios = zip(self.size, sides, strict=True)
            terms += 8 * sum(ratio * side for ratio, side in ratios)
        return int(terms)

    def enclose(self, inputs: list[Enclosure], machine: Machine) -> Enclosure:
        if machine.sharp and self.interpolation == "bilinear":
            raise Unaccounted("the accuracy of its weights is unknown")
        return super().enclose(inputs, machine)

    @property
    def num_axes(self) -> int:
        return len(self.size)

    def axes(self, ndim: int) -> tuple[int, ...]:
        return tuple(range(len(self.size)))

    def matrix(self, position: int, size: int) -> Array:
        ratio = self.size[position]
        if self.interpolation == "nearest":
            return np.repeat(np.eye(size), ratio, axis=0)
        # Pixels are squares with their values at the centre.
        places = (np.arange(size * ratio) + 0.5) / ratio - 0.5
        distances = np.abs(
            np.clip(places, 0, size - 1)[:, None] - np.arange(size)
        )
        return np.maximum(1 - distances, 0.0)

    def open_constant(self, norm: str, position: int) -> float:
        # Each output is a weighted average of inputs. The weights of an input
        # in all outputs sum to the upsampling factor, or up to half of it more
        # at the border.
        if norm == "linf":
            return 1.0
        copies = float(self.size[position])
        if self.interpolation != "nearest":
            copies *= 1.5
        return sqrt_up(copies)

    def to_keras(self, inputs: list[Tensor], dtype: str, **kwargs: Any) -> Any:
        name = kwargs.get("name")
        if len(self.size) == 1:
            layer = keras.layers.UpSampling1D(
                self.size[0], dtype=dtype, name=name
            )
        elif len(self.size) == 2:
            layer = keras.layers.UpSampling2D(
                self.size,
                data_format="channels_last",
                interpolation=self.interpolation,
                dtype=dtype,
                name=name,
            )
        else:
            layer = keras.layers.UpSampling3D(
                self.size, data_format="channels_last", dtype=dtype, name=name
            )
        return layer(inputs[0])


@dataclasses.dataclass(frozen=True, eq=False)
class Repeat(AxisLinear):
    """Repeats each entry of an axis.

    Attributes:
        axis: Integer. Axis of a sample.
        copies: Positive integer.
    """

    axis: int
    copies: int

    @property
    def num_axes(self) -> int:
        return 1

    def axes(self, ndim: int) -> tuple[int, ...]:
        return (self.axis,)

    def matrix(self, position: int, size: int) -> Array:
        return np.repeat(np.eye(size), self.copies, axis=0)

    def open_constant(self, norm: str, position: int) -> float:
        return 1.0 if norm == "linf" else sqrt_up(self.copies)

    def to_keras(self, inputs: list[Tensor], dtype: str, **kwargs: Any) -> Any:
        return ops.repeat(inputs[0], self.copies, axis=self.axis + 1)
