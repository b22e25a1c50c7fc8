"""Shift of image channels by whole pixels."""

import dataclasses
import math
from typing import Any

import numpy as np
from keras import ops

from keras_lip.program.node import SampleShape
from keras_lip.program.nodes.selections import Selection
from keras_lip.types import Array
from keras_lip.types import Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class Shift(Selection):
    """Shifts groups of channels along an axis of an image, channels last.

    Attributes:
        moves: Tuples of the number of channels, the axis of a sample and the
            number of pixels. There is one tuple for each group of channels,
            starting at the first channel. The remaining channels do not move.
        circular: Boolean. Whether pixels that leave the image enter on the
            opposite side. Otherwise zeros enter.
    """

    moves: tuple[tuple[int, int, int], ...]
    circular: bool

    def select(self, values: Array) -> Array:
        moved: Array = shift_channels(values, self.moves, self.circular, np)
        return moved

    def restore(self, upstream: Array, shape: tuple[int, ...]) -> Array:
        size = math.prod(shape[1:])
        # Number of the entry that each output comes from, counted from one;
        # zero means no entry.
        numbers = np.arange(1, size + 1).reshape(1, *shape[1:])
        places = self.select(numbers).ravel()
        restored = np.zeros((len(upstream), size + 1))
        restored[:, places] = upstream.reshape(len(upstream), -1)
        return restored[:, 1:].reshape(len(upstream), *shape[1:])

    def output_shape(self, *shapes: SampleShape) -> SampleShape:
        return shapes[0]

    def to_keras(self, inputs: list[Tensor], dtype: str, **kwargs: Any) -> Any:
        return shift_channels(inputs[0], self.moves, self.circular, ops)


def shift_channels(
    images: Any,
    moves: tuple[tuple[int, int, int], ...],
    circular: bool,
    xp: Any,
) -> Any:
    """Shifts groups of channels along an axis of images, channels last.

    Args:
        images: Array or tensor of shape `(batch_size, height, width, channels)`
            whose sides are at least as long as the shifts.
        moves: As in `Shift`.
        circular: As in `Shift`.
        xp: `numpy` or `keras.ops`.
    """
    parts, start = [], 0
    for count, axis, step in moves:
        part = images[..., start : start + count]
        parts.append(_move(part, axis + 1, step, circular, xp))
        start += count
    parts.append(images[..., start:])
    return xp.concatenate(parts, axis=-1)


def _move(images: Any, axis: int, step: int, circular: bool, xp: Any) -> Any:
    head = (slice(None),) * axis
    # The pixels that leave the image, and the pixels that stay.
    gone, kept = slice(-step, None), slice(-step)
    if step < 0:
        gone, kept = kept, gone
    stays = images[(*head, kept)]
    if not circular:
        widths = [(0, 0)] * len(images.shape)
        widths[axis] = (step, 0) if step > 0 else (0, -step)
        return xp.pad(stays, widths)
    parts = [images[(*head, gone)], stays]
    return xp.concatenate(parts if step > 0 else parts[::-1], axis=axis)
