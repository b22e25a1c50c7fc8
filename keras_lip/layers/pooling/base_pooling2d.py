"""The base class of pooling layers over windows."""

import abc
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lip.layers.image_format import check_data_format
from keras_lip.layers.image_format import check_sizes
from keras_lip.layers.image_format import image_axes
from keras_lip.layers.lipschitz_layer import LipschitzLayer
from keras_lip.layers.pooling.pooled_sums import upcast
from keras_lip.operators import pad_zeros
from keras_lip.types import Config
from keras_lip.types import Shape
from keras_lip.types import Tensor
from keras_lip.validation import check_known


class BasePooling2D(LipschitzLayer):
    """Pools windows, and divides by the Lipschitz constant of the pooling.

    Subclasses define how a window is pooled, and the squared constant.

    Args:
        pool_size: Positive integer, or a pair: sides of a window.
        strides: Positive integer, or a pair. Defaults to `None`, for
            `pool_size`.
        padding: `"valid"` or `"same"`, which pads with zeros.
        data_format: `"channels_last"` or `"channels_first"`. Defaults to
            `None`, for `keras.config.image_data_format()`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.
    """

    def __init__(
        self,
        pool_size: int | Sequence[int] = 2,
        strides: int | Sequence[int] | None = None,
        padding: str = "valid",
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.pool_size = check_sizes("pool_size", pool_size)
        self.strides = self.pool_size
        if strides is not None:
            self.strides = check_sizes("strides", strides)
        check_known("padding", padding, ("valid", "same"))
        self.padding = padding
        self.data_format = check_data_format(data_format)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    @property
    def _factor(self) -> float:
        return 1 / math.sqrt(self._squared_constant())

    @abc.abstractmethod
    def _squared_constant(self) -> int:
        """Returns the squared Lipschitz constant of `_pool` for any image."""

    @abc.abstractmethod
    def _pool(self, images: Tensor, axes: tuple[int, ...]) -> Tensor:
        """Pools the windows inside the images."""

    def build(self, input_shape: Shape) -> None:
        for side, size, _ in self._sides(input_shape):
            too_small = self.padding == "valid" and (side or size) < size
            if too_small or (self.padding == "same" and side is None):
                raise ValueError(
                    f"Layer '{self.name}' needs images that are at least as "
                    'large as a window, and with padding="same" known sides. '
                    f"Received: input_shape={tuple(input_shape)}, "
                    f"pool_size={self.pool_size}, padding={self.padding!r}, "
                    f"data_format={self.data_format!r}"
                )

    def call(self, inputs: Tensor) -> Tensor:
        images = upcast(inputs)
        if self.padding == "same":
            images = self._pad(images)
        outputs = self._pool(images, image_axes(self.data_format))
        return ops.cast(outputs * self._factor, inputs.dtype)

    def _pad(self, images: Tensor) -> Tensor:
        pad_width = [[0, 0] for _ in images.shape]
        for axis, (side, size, stride) in zip(
            image_axes(self.data_format), self._sides(images.shape), strict=True
        ):
            covered = (math.ceil(side / stride) - 1) * stride + size
            missing = max(covered - side, 0)
            pad_width[axis] = [missing // 2, missing - missing // 2]
        return pad_zeros(images, pad_width)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        shape = list(input_shape)
        for axis, (side, size, stride) in zip(
            image_axes(self.data_format), self._sides(input_shape), strict=True
        ):
            if side is not None:
                reach = side - size if self.padding == "valid" else side - 1
                shape[axis] = reach // stride + 1
        return tuple(shape)

    @property
    def _running_factor(self) -> float:
        """The rounded factor, which may be in float32."""
        single = float(np.float32(self._factor))
        if self.compute_dtype == "float32":
            return single
        return max(self._factor, single)

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "pool_size": self.pool_size,
            "strides": self.strides,
            "padding": self.padding,
            "data_format": self.data_format,
        }

    def _sides(self, shape: Shape) -> list[tuple[Any, int, int]]:
        """Returns the image side, window side and stride of each axis."""
        sides = [shape[axis] for axis in image_axes(self.data_format)]
        return list(zip(sides, self.pool_size, self.strides, strict=True))
