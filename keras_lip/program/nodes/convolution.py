"""Convolutions of channels-last images."""

import dataclasses
import functools
import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lip.operators import pad_circular
from keras_lip.program import upward
from keras_lip.program.node import SampleShape
from keras_lip.program.nodes.host_convolution import convolve
from keras_lip.program.nodes.host_convolution import pad_width
from keras_lip.program.nodes.host_convolution import transpose_convolve
from keras_lip.program.nodes.linear import Linear
from keras_lip.proofs.convolution_norm_bound import (
    convolution_contraction_bound,
)
from keras_lip.proofs.convolution_norm_bound import convolution_norm_bound
from keras_lip.proofs.image_frequencies import ImageFrequencies
from keras_lip.proofs.matrix_norms import row_sum_bound
from keras_lip.proofs.matrix_norms import spectral_norm_bound
from keras_lip.types import Array
from keras_lip.types import Tensor

_LAYERS = {1: keras.layers.Conv1D, 2: keras.layers.Conv2D}


@dataclasses.dataclass(frozen=True, eq=False)
class BaseConvolution(Linear):
    """A convolution, or its adjoint.

    The constant holds for images of any size.
    `keras_lip.proofs.convolution_norm_bound` proves it.

    Attributes:
        strides: Tuple of positive integers, one for each axis of the image.
        dilation_rate: Tuple of positive integers.
        groups: Positive integer.
    """

    strides: tuple[int, ...]
    dilation_rate: tuple[int, ...]
    groups: int

    @property
    def repeats(self) -> int:
        return math.prod(self.kernel.shape[:-2])

    def why_unfit(self, *shapes: SampleShape) -> str | None:
        (shape,) = shapes
        axes = len(self.strides)
        if shape is not None and len(shape) != axes + 1:
            return f"images must have {axes} axes and channels"
        if self.kernel.ndim != axes + 2 or self.kernel.shape[-1] % self.groups:
            return f"the kernel has the shape {self.kernel.shape}"
        return super().why_unfit(shape)

    @property
    def phases(self) -> tuple[int, ...]:
        """The strides of the undilated convolution with the same norm."""
        return tuple(
            stride // math.gcd(stride, rate)
            for stride, rate in zip(
                self.strides, self.dilation_rate, strict=True
            )
        )

    @functools.cached_property
    def spans(self) -> tuple[int, ...]:
        """Number of pixels that the window spans on each axis."""
        return tuple(
            (taps - 1) * rate + 1
            for taps, rate in zip(
                self.kernel.shape[:-2], self.dilation_rate, strict=True
            )
        )

    def prove(self, norm: str, shape: SampleShape) -> float:
        return convolution_norm_bound(self.kernel, self.phases, self.groups)

    def prove_moduli(self) -> float:
        # For a kernel of absolute values, the entries at every frequency are at
        # most their sum over the taps that touch one phase.
        *window, channels, filters = self.kernel.shape
        moduli = np.abs(self.kernel)
        sums = np.zeros((*self.phases, channels, filters))
        for index in np.ndindex(*window):
            phase = tuple(
                i % n for i, n in zip(index, self.phases, strict=True)
            )
            sums[phase] = upward.add(sums[phase], moduli[index])
        matrix = sums.reshape(-1, self.groups, filters // self.groups)
        # There is one matrix for each group, and the norm is their largest
        # norm.
        return spectral_norm_bound(np.moveaxis(matrix, 1, 0))


@dataclasses.dataclass(frozen=True, eq=False)
class Convolution(BaseConvolution):
    """Convolves like `keras.layers.Conv1D` and `Conv2D`.

    The kernel has the shape `(*window, channels // groups, filters)`.

    Attributes:
        widths: Pairs of integers, one for each image axis: numbers of pixels
            added before and after. `None` for `"same"`, whose padding depends
            on the image size if there are strides.
        circular: Boolean. Whether images are padded periodically instead of
            with zeros. The padding is at most the span of the window minus the
            stride, and strides divide the sides.
    """

    depends_on_shape = True
    is_bounded_without_shape = True

    widths: tuple[tuple[int, int], ...] | None
    circular: bool = False

    @property
    def sizes(self) -> tuple[int, int]:
        *_, channels, filters = self.kernel.shape
        return channels * self.groups, filters

    @property
    def terms(self) -> int:
        return math.prod(self.kernel.shape[:-1])

    def matvec(self, inputs: Array, kernel: Array) -> Array:
        widths = self.find_widths(inputs.shape[1:-1])
        if self.circular:
            inputs = wrap(inputs, widths)
        elif any(map(any, widths)):
            inputs = np.pad(inputs, [(0, 0), *widths, (0, 0)])
        return convolve(
            inputs, kernel, self.strides, self.dilation_rate, self.groups
        )

    def adjoint(self, outputs: Array, shape: tuple[int, ...]) -> Array:
        widths = self.find_widths(shape[:-1])
        sides = [
            max(side + before + after, span)
            for side, (before, after), span in zip(
                shape[:-1], widths, self.spans, strict=True
            )
        ]
        images = transpose_convolve(
            outputs,
            self.kernel,
            self.strides,
            self.dilation_rate,
            self.groups,
            sides,
        )
        if self.circular:
            return unwrap(images, widths, shape[:-1])
        kept = [
            slice(before, before + side)
            for (before, _), side in zip(widths, shape[:-1], strict=True)
        ]
        return images[(slice(None), *kept)]

    def find_widths(self, sides: tuple[Any, ...]) -> list[tuple[int, int]]:
        """Returns the padding of images of given sides."""
        if self.widths is not None:
            return list(self.widths)
        return [
            pad_width(side, span, stride, "same")
            for side, span, stride in zip(
                sides, self.spans, self.strides, strict=True
            )
        ]

    def output_shape(self, *shapes: SampleShape) -> SampleShape:
        (shape,) = shapes
        if shape is None:
            return None
        sides: list[int | None] = []
        for axis, (side, span, stride) in enumerate(
            zip(shape[:-1], self.spans, self.strides, strict=True)
        ):
            if side is not None:
                if self.widths is None:
                    side = -(-side // stride)
                else:
                    side = (side + sum(self.widths[axis]) - span) // stride + 1
            sides.append(side)
        return (*sides, self.kernel.shape[-1])

    def prove(self, norm: str, shape: SampleShape) -> float:
        if norm == "linf":
            return row_sum_bound(self.kernel, range(self.kernel.ndim - 1))
        return convolution_norm_bound(
            self.kernel,
            self.phases,
            self.groups,
            self._find_frequencies(shape),
        )

    def _find_frequencies(self, shape: SampleShape) -> ImageFrequencies | None:
        if shape is None or None in shape or max(self.dilation_rate) > 1:
            return None
        sides = tuple(int(side or 0) for side in shape[:-1])
        return ImageFrequencies.of_image(
            sides,
            self.find_widths(sides),
            self.spans,
            self.strides,
            self.circular,
        )

    def prove_contraction(self, norm: str, shape: SampleShape) -> float:
        if norm != "l2" or self.widths is None or max(self.dilation_rate) > 1:
            return 0.0
        # All frequencies of the image must be seen.
        pairs = list(zip(self.widths, self.spans, self.strides, strict=True))
        if self.circular:
            sees = all(sum(pair) == span - n for pair, span, n in pairs)
        else:
            sees = max(self.strides) == 1 and all(
                min(pair) >= span - 1 for pair, span, _ in pairs
            )
        if not sees:
            return 0.0
        return convolution_contraction_bound(
            self.kernel, self.strides, self.groups
        )

    @property
    def keras_padding(self) -> str | None:
        """Keras's name of the padding, or `None` if there is none."""
        if self.widths is None:
            return "same"
        if not any(map(any, self.widths)):
            return "valid"
        same = [pad_width(span, span, 1, "same") for span in self.spans]
        if self.circular or max(self.strides) > 1:
            return None
        return "same" if list(self.widths) == same else None

    def to_keras(self, inputs: list[Tensor], dtype: str, **kwargs: Any) -> Any:
        (images,) = inputs
        return self.make_layer(images, dtype, **kwargs)(self.pad(images))

    def pad(self, images: Tensor) -> Tensor:
        """Adds the padding that the Keras layer does not add itself."""
        if self.keras_padding is not None:
            return images
        widths = list(self.widths or ())
        if self.circular:
            return pad_circular(images, widths)
        return ops.pad(images, [(0, 0), *widths, (0, 0)])

    def make_layer(self, images: Tensor, dtype: str, **kwargs: Any) -> Any:
        """Returns the Keras layer that convolves padded images."""
        layer = _LAYERS[len(self.strides)](
            self.kernel.shape[-1],
            self.kernel.shape[:-2],
            strides=self.strides,
            padding=self.keras_padding or "valid",
            data_format="channels_last",
            dilation_rate=self.dilation_rate,
            groups=self.groups,
            use_bias=self.bias is not None,
            dtype=dtype,
            **kwargs,
        )
        # Before padding, images may be smaller than the window.
        *_, channels = images.shape
        layer.build((None, *(None for _ in self.strides), channels))
        layer.set_weights(
            [each for each in (self.kernel, self.bias) if each is not None]
        )
        return layer


def wrap(images: Array, widths: list[tuple[int, int]]) -> Array:
    """Pads images periodically."""
    return np.pad(images, [(0, 0), *widths, (0, 0)], mode="wrap")


def unwrap(
    images: Array, widths: list[tuple[int, int]], sides: tuple[int, ...]
) -> Array:
    """Applies the adjoint of `wrap`: adds all copies of each pixel."""
    for axis, ((before, _), side) in enumerate(
        zip(widths, sides, strict=True), start=1
    ):
        moved = np.moveaxis(images, axis, 0)
        folded = np.zeros((side, *moved.shape[1:]))
        np.add.at(folded, (np.arange(len(moved)) - before) % side, moved)
        images = np.moveaxis(folded, 0, axis)
    return images
