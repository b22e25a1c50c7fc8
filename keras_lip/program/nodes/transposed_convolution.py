"""Adjoints of convolutions."""

import dataclasses
import math
from typing import Any

import keras
import numpy as np

from keras_lip.operators import crop_images
from keras_lip.operators import pad_circular
from keras_lip.program.node import SampleShape
from keras_lip.program.nodes.convolution import BaseConvolution
from keras_lip.program.nodes.convolution import unwrap
from keras_lip.program.nodes.convolution import wrap
from keras_lip.program.nodes.host_convolution import convolve
from keras_lip.program.nodes.host_convolution import transpose_convolve
from keras_lip.types import Array
from keras_lip.types import Tensor

_LAYERS = {1: keras.layers.Conv1DTranspose, 2: keras.layers.Conv2DTranspose}


@dataclasses.dataclass(frozen=True, eq=False)
class TransposedConvolution(BaseConvolution):
    """Applies the adjoint of a convolution, and crops the border.

    The kernel has the shape `(*window, filters, channels)`. An operator and its
    adjoint have the same norm.

    Attributes:
        wrapping: Pairs of integers, one for each image axis: periodic padding
            of the inputs. Zeros if there is no circular padding.
        cropping: Pairs of integers: pixels to crop from the full output. A
            negative number adds zero pixels.
    """

    norms = ("l2",)

    wrapping: tuple[tuple[int, int], ...]
    cropping: tuple[tuple[int, int], ...]

    @property
    def sizes(self) -> tuple[int, int]:
        *_, filters, channels = self.kernel.shape
        return channels, filters

    @property
    def terms(self) -> int:
        return math.prod(self.kernel.shape[:-2]) * self.kernel.shape[-1]

    def _sides(self, sides: tuple[Any, ...]) -> list[Any]:
        """Returns the sides of the full output."""
        return [
            None
            if side is None
            else (side + sum(pair) - 1) * stride + max(span, stride)
            for side, pair, stride, span in zip(
                sides, self.wrapping, self.strides, self.spans, strict=True
            )
        ]

    def matvec(self, inputs: Array, kernel: Array) -> Array:
        sides = self._sides(inputs.shape[1:-1])
        images = transpose_convolve(
            wrap(inputs, list(self.wrapping)),
            kernel,
            self.strides,
            self.dilation_rate,
            1,
            sides,
        )
        return _crop(images, self.cropping)

    def adjoint(self, outputs: Array, shape: tuple[int, ...]) -> Array:
        added = tuple((-before, -after) for before, after in self.cropping)
        images = convolve(
            _crop(outputs, added),
            self.kernel,
            self.strides,
            self.dilation_rate,
            1,
        )
        return unwrap(images, list(self.wrapping), shape[:-1])

    def output_shape(self, *shapes: SampleShape) -> SampleShape:
        (shape,) = shapes
        if shape is None:
            return None
        sides = [
            None if side is None else side - before - after
            for side, (before, after) in zip(
                self._sides(shape[:-1]), self.cropping, strict=True
            )
        ]
        return (*sides, self.kernel.shape[-2])

    def to_keras(self, inputs: list[Tensor], dtype: str, **kwargs: Any) -> Any:
        layer = _LAYERS[len(self.strides)](
            self.kernel.shape[-2],
            self.kernel.shape[:-2],
            strides=self.strides,
            padding="valid",
            data_format="channels_last",
            dilation_rate=self.dilation_rate,
            # The bias is also added to zero pixels.
            use_bias=False,
            dtype=dtype,
            name=kwargs.get("name"),
        )
        outputs = layer(pad_circular(inputs[0], list(self.wrapping)))
        layer.set_weights([self.kernel])
        kept = [(max(a, 0), max(b, 0)) for a, b in self.cropping]
        outputs = crop_images(outputs, kept)
        added = [tuple(max(-n, 0) for n in pair) for pair in self.cropping]
        if any(map(any, added)):
            outputs = keras.ops.pad(outputs, [(0, 0), *added, (0, 0)])
        if self.bias is not None:
            outputs = outputs + self.bias.astype(dtype)
        return keras.activations.get(kwargs.get("activation"))(outputs)


def _crop(images: Array, cropping: tuple[tuple[int, int], ...]) -> Array:
    added = [(max(-before, 0), max(-after, 0)) for before, after in cropping]
    images = np.pad(images, [(0, 0), *added, (0, 0)])
    kept = [
        slice(max(before, 0), -after if after > 0 else None)
        for before, after in cropping
    ]
    return images[(slice(None), *kept)]
