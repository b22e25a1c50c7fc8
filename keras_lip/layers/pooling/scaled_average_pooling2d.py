"""Average pooling, scaled to a Lipschitz constant of one."""

import math

import keras

from keras_lip.layers.pooling.base_pooling2d import BasePooling2D
from keras_lip.layers.pooling.pooled_sums import sum_windows
from keras_lip.program.builder import Wire
from keras_lip.program.freezing.reading import on_images
from keras_lip.program.nodes.average_pooling import WindowPool
from keras_lip.types import Tensor


@keras.saving.register_keras_serializable(package="keras_lip")
class ScaledAveragePooling2D(BasePooling2D):
    """Average pooling over windows, scaled to an l2 norm of one.

    If windows do not overlap, the average over `k` pixels has the norm `1 /
    sqrt(k)`, so stacked average poolings shrink the signal and its gradient.
    This layer computes `sum / sqrt(k)` instead. Up to the output size, this is
    an orthogonal projection onto the images that are constant in each window,
    so it is 1-Lipschitz in the l2 norm.

    Overlapping windows are scaled by the smallest constant that is valid for
    images of every size. Suppose a pixel in position `r` modulo the stride lies
    in at most `n_r` windows along an axis. Then the sum over windows along this
    axis has a norm of at most `sqrt(sum_r n_r ** 2)`, and large images come
    arbitrarily close to it. Proof: let `S` be its matrix. The entries of `S
    S^T` are non-negative, and each row sums to the total number of windows over
    all pixels of one window. This is `sum_r n_r ** 2` away from the border, and
    less at the border.

    `lipschitz_bound` accounts for the rounding of this factor.

    Args:
        pool_size: Positive integer, or a pair: rows and columns of a window.
            Defaults to `2`.
        strides: Positive integer, or a pair. Defaults to `None`, for
            `pool_size`.
        padding: `"valid"`, which drops the pixels that no window covers, or
            `"same"`, which pads with zeros. Unlike in
            `keras.layers.AveragePooling2D`, the zeros count as pixels. Defaults
            to `"valid"`.
        data_format: `"channels_last"` or `"channels_first"`. Defaults to
            `None`, for `keras.config.image_data_format()`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        ValueError: If an argument is invalid, the input is smaller than a
            window, or its sides are unknown with `padding="same"`.

    Input shape:
        `(batch_size, rows, columns, channels)`, or
        `(batch_size, channels, rows, columns)` with `"channels_first"`.

    Output shape:
        The same, with the number of windows along each side.

    Example:

    >>> layer = keras_lip.layers.ScaledAveragePooling2D(2)
    >>> outputs = layer(np.ones((1, 2, 4, 1)))
    >>> keras.ops.convert_to_numpy(outputs).tolist()
    [[[[2.0], [2.0]]]]

    Reference:

    - [Meunier et al., 2022](https://arxiv.org/abs/2110.12690), section 4.1, for
      pooling that is made 1-Lipschitz
    """

    def _squared_constant(self) -> int:
        return math.prod(map(_squared_norm, self.pool_size, self.strides))

    def _pool(self, images: Tensor, axes: tuple[int, ...]) -> Tensor:
        return sum_windows(images, axes, self.pool_size, self.strides)

    def freeze(self, *inputs: Wire) -> Wire:
        node = WindowPool(
            self.pool_size, self.strides, self.padding, self._running_factor
        )
        return on_images(inputs[0], self, node)


def _squared_norm(size: int, stride: int) -> int:
    fewest, more = divmod(size, stride)
    return more * (fewest + 1) ** 2 + (stride - more) * fewest**2
