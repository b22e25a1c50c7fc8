"""Nodes that sort groups of channels, or fold pairs of them."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_lip.program import upward
from keras_lip.program.enclosure import Enclosure
from keras_lip.program.enclosure import Machine
from keras_lip.program.node import Node
from keras_lip.program.node import SampleShape
from keras_lip.proofs.rounding import add_up
from keras_lip.proofs.rounding import inflate_up
from keras_lip.proofs.rounding import multiply_up
from keras_lip.types import Array
from keras_lip.types import Tensor


def split_axis(shape: Sequence[Any], axis: int, group_size: int) -> list[Any]:
    """Returns a shape with an axis split into groups and their members."""
    sizes = list(shape)
    sizes[axis : axis + 1] = [sizes[axis] // group_size, group_size]
    return sizes


@dataclasses.dataclass(frozen=True, eq=False)
class Sort(Node):
    """Sorts groups of consecutive entries, a permutation of each input.

    Attributes:
        axis: Integer. Axis of a sample.
        group_size: Positive integer.
        descending: Boolean.
    """

    axis: int
    group_size: int
    descending: bool = False

    def apply(self, *inputs: Array) -> Array:
        (x,) = inputs
        groups = x.reshape(split_axis(x.shape, self.axis + 1, self.group_size))
        if self.group_size == 2:
            low, high = np.moveaxis(groups, self.axis + 2, 0)
            pair = [np.minimum(low, high), np.maximum(low, high)]
            pair = pair[::-1] if self.descending else pair
            return np.stack(pair, axis=self.axis + 2).reshape(x.shape)
        groups = np.sort(groups, axis=self.axis + 2)
        if self.descending:
            groups = np.flip(groups, axis=self.axis + 2)
        return groups.reshape(x.shape)

    def pull_back(self, upstream: Array, *inputs: Array) -> Sequence[Array]:
        (x,) = inputs
        shape = split_axis(x.shape, self.axis + 1, self.group_size)
        order = np.argsort(x.reshape(shape), axis=self.axis + 2)
        if self.descending:
            order = np.flip(order, axis=self.axis + 2)
        gradient = np.empty(shape)
        np.put_along_axis(
            gradient, order, upstream.reshape(shape), axis=self.axis + 2
        )
        return (gradient.reshape(x.shape),)

    def prove(self, norm: str, shape: SampleShape) -> float:
        return 1.0

    def prove_contraction(self, norm: str, shape: SampleShape) -> float:
        # All orders of the same numbers are sorted to one output.
        return float(self.group_size == 1)

    def to_keras(self, inputs: list[Tensor], dtype: str, **kwargs: Any) -> Any:
        (x,) = inputs
        sizes = split_axis(x.shape[1:], self.axis, self.group_size)
        groups = ops.reshape(x, _open(x, self.axis, sizes))
        axis = self.axis + 2
        if self.group_size == 2:
            first, second = ops.unstack(groups, axis=axis)
            pair = [ops.minimum(first, second), ops.maximum(first, second)]
            pair = pair[::-1] if self.descending else pair
            groups = ops.stack(pair, axis=axis)
        else:
            groups = ops.sort(groups, axis=axis)
            if self.descending:
                groups = ops.flip(groups, axis=axis)
        return ops.reshape(groups, _open(x, self.axis, list(x.shape[1:])))


def _open(x: Tensor, axis: int, sizes: list[Any]) -> list[Any]:
    """Returns a shape for `reshape`, with unknown sizes left open."""
    if None in sizes:
        raise ValueError(
            "A stock form needs inputs of known shape. Build the model on a "
            "`keras.Input` with every size given. Received: input shape "
            f"{tuple(x.shape)}"
        )
    return [-1, *sizes]


@dataclasses.dataclass(frozen=True, eq=False)
class Fold(Node):
    """Computes `z - 2 min(v . z, 0) v` for pairs `z` of channels.

    The function is continuous. On one side of a line it is the identity, and on
    the other side `I - 2 v v^T`, with the eigenvalues 1 and `1 - 2 |v|^2`.

    Attributes:
        normals: Float64 array `v` of shape `(2, pairs)`.
        axis: Integer. Axis of a sample.
    """

    norms = ("l2",)

    normals: Array
    axis: int

    def _split(self, x: Array) -> tuple[Array, Array, Array, Array]:
        moved = np.moveaxis(x, self.axis + 1, -1)
        return moved[..., ::2], moved[..., 1::2], *self.normals

    def _merge(self, first: Array, second: Array) -> Array:
        stacked = np.stack([first, second], axis=-1)
        merged = stacked.reshape(*first.shape[:-1], -1)
        return np.moveaxis(merged, -1, self.axis + 1)

    def apply(self, *inputs: Array) -> Array:
        first, second, v, w = self._split(inputs[0])
        twice = 2 * np.minimum(first * v + second * w, 0.0)
        return self._merge(first - twice * v, second - twice * w)

    def pull_back(self, upstream: Array, *inputs: Array) -> Sequence[Array]:
        first, second, v, w = self._split(inputs[0])
        up, down, _, _ = self._split(upstream)
        behind = first * v + second * w < 0
        twice = 2 * np.where(behind, up * v + down * w, 0.0)
        return (self._merge(up - twice * v, down - twice * w),)

    def prove(self, norm: str, shape: SampleShape) -> float:
        if not np.isfinite(self.normals).all():
            return np.inf
        squares = np.sum(np.square(self.normals), axis=0)
        square = inflate_up(float(np.max(squares)), 2)
        return max(1.0, add_up(multiply_up(2.0, square), -1.0))

    def enclose(self, inputs: list[Enclosure], machine: Machine) -> Enclosure:
        (source,) = inputs
        outputs = super().enclose(inputs, machine)
        longest = float(np.max(np.abs(self.normals)))
        # Elementwise `|z| + 2 |v| (|v| |z|)`, for normals of any length.
        factor = 1 + 8 * longest * longest
        return outputs.with_rounding(
            machine,
            upward.multiply(upward.sample_norms(source.value), factor),
            10,
            upward.multiply(source.spread, factor),
        )

    def to_keras(self, inputs: list[Tensor], dtype: str, **kwargs: Any) -> Any:
        (x,) = inputs
        shape = [1] * len(x.shape)
        shape[self.axis + 1] = -1
        single = "float64" if dtype == "float64" else "float32"
        v, w = self.normals.astype(single).reshape(2, *shape)
        sizes = split_axis(x.shape[1:], self.axis, 2)
        groups = ops.reshape(x, _open(x, self.axis, sizes))
        first, second = ops.unstack(groups, axis=self.axis + 2)
        twice = 2 * ops.minimum(first * v + second * w, 0)
        pair = [first - twice * v, second - twice * w]
        outputs = ops.reshape(
            ops.stack(pair, axis=self.axis + 2),
            _open(x, self.axis, list(x.shape[1:])),
        )
        return ops.cast(outputs, dtype)
