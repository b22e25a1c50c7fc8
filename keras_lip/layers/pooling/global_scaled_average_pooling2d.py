"""Global average pooling, scaled to a Lipschitz constant of one."""

import math

import keras
import numpy as np
from keras import ops

from keras_lip.layers.pooling.base_global_pooling2d import BaseGlobalPooling2D
from keras_lip.layers.pooling.pooled_sums import upcast
from keras_lip.program.builder import Wire
from keras_lip.program.nodes.average_pooling import GlobalPool
from keras_lip.types import Tensor


@keras.saving.register_keras_serializable(package="keras_lip")
class GlobalScaledAveragePooling2D(BaseGlobalPooling2D):
    """Global average pooling, scaled to an l2 norm of one.

    The average over the `k` pixels of an image has the norm `1 / sqrt(k)`. This
    layer computes `sum / sqrt(k)` instead. For each channel this is the product
    with a vector of length one, so the layer is 1-Lipschitz in the l2 norm.
    `lipschitz_bound` accounts for the rounding of `1 / sqrt(k)`.

    Args:
        data_format: `"channels_last"` or `"channels_first"`. Defaults to
            `None`, for `keras.config.image_data_format()`.
        keepdims: Boolean. Whether to keep the image axes with size one.
            Defaults to `False`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        ValueError: If `data_format` is invalid, or the sides of the input are
            unknown.

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

    def call(self, inputs: Tensor) -> Tensor:
        sides = [ops.shape(inputs)[axis] for axis in self.axes]
        total = ops.sum(upcast(inputs), self.axes, keepdims=self.keepdims)
        if all(isinstance(side, int) for side in sides):
            factor = 1 / math.sqrt(math.prod(sides))
        else:
            factor = ops.rsqrt(ops.cast(ops.prod(sides), total.dtype))
        return ops.cast(total * factor, inputs.dtype)

    def freeze(self, *inputs: Wire) -> Wire:
        (x,) = inputs
        axes = tuple(axis - 1 for axis in self.axes)
        sides = [None if x.shape is None else x.shape[axis] for axis in axes]
        known = [side for side in sides if side is not None]
        if len(known) < len(sides):
            raise ValueError(
                f"Layer '{self.name}' divides by the square root of the number "
                "of pixels, which must be known. Received: inputs of sides "
                f"{tuple(sides)}"
            )
        factor = 1 / math.sqrt(math.prod(known))
        # The layer computes in float32 or float64.
        factor = max(factor, float(np.float32(factor)))
        return self._drop_sides(x.then(GlobalPool(axes, factor)))
