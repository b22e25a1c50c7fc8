"""Global average pooling, scaled to a Lipschitz constant of one."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lip.bounds.rounding import multiply_up
from keras_lip.bounds.rounding import sqrt_up
from keras_lip.layers.pooling.base_global_pooling_2d import BaseGlobalPooling2D
from keras_lip.layers.pooling.widen import widen
from keras_lip.types import Shape
from keras_lip.types import Tensor


@keras.saving.register_keras_serializable(package="keras_lip")
class GlobalScaledAveragePooling2D(BaseGlobalPooling2D):
    """Global average pooling, scaled to an l2 norm of one.

    The average over the `k` pixels of an image has the norm `1 / sqrt(k)`. This
    layer computes `sum / sqrt(k)` instead, the product with a vector of length
    one for each channel, and is 1-Lipschitz in the l2 norm. `lipschitz_bound`
    is that of `1 / sqrt(k)` as it is rounded.

    Args:
        data_format: `"channels_last"` or `"channels_first"`. Defaults to that
            of the Keras configuration.
        keepdims: Boolean. Whether to keep the sides, of size one.
        **kwargs: Passed to `keras.layers.Layer`.

    Raises:
        ValueError: If `data_format` is none of these, or the sides of the input
            are unknown.

    Input shape:
        `(batch_size, rows, columns, channels)`, or
        `(batch_size, channels, rows, columns)` with `"channels_first"`.

    Output shape:
        `(batch_size, channels)`, or the input shape with sides of one.

    Example:

    >>> layer = keras_lip.layers.GlobalScaledAveragePooling2D()
    >>> outputs = layer(np.ones((1, 2, 2, 1)))
    >>> keras.ops.convert_to_numpy(outputs).tolist()
    [[2.0]]

    Reference:

    - [Meunier et al., 2022](https://arxiv.org/abs/2110.12690), section 4.1, for
      pooling that is made 1-Lipschitz
    """

    def build(self, input_shape: Shape) -> None:
        sides: list[Any] = [input_shape[axis] for axis in self.axes]
        if None in sides:
            raise ValueError(
                f"Layer '{self.name}' divides by the root of the number of "
                "pixels, which must be known. Received: "
                f"input_shape={tuple(input_shape)}, "
                f"data_format={self.data_format!r}"
            )
        self._pixels = math.prod(sides)
        self.input_spec = keras.layers.InputSpec(
            ndim=4, axes=dict(zip(self.axes, sides, strict=True))
        )

    def call(self, inputs: Tensor) -> Tensor:
        total = ops.sum(widen(inputs), self.axes, keepdims=self.keepdims)
        return ops.cast(total * (1 / math.sqrt(self._pixels)), inputs.dtype)

    def lipschitz_bound(self) -> float:
        factor = 1 / math.sqrt(self._pixels)
        # The layer runs in float32 or float64.
        factor = max(factor, float(np.float32(factor)))
        return multiply_up(factor, sqrt_up(self._pixels))
