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

    The average over `k` pixels has the norm `1 / sqrt(k)` where windows do not
    overlap, so that layers of them shrink the signal and its gradient. This
    layer computes `sum / sqrt(k)` instead. It is then an orthogonal projection
    onto what is constant in each window, up to the size of the output, and
    1-Lipschitz in the l2 norm.

    Windows that overlap are scaled by the smallest constant that holds for
    images of every size. If a pixel in position `r` modulo the stride lies in
    at most `n_r` windows along an axis, the sum over windows along this axis
    has a norm of at most `sqrt(sum_r n_r ** 2)`, which large images attain:
    with its matrix `S`, the entries of `S S^T` are not negative, and a row of
    them sums to the number of windows over each pixel of one window,
    `sum_r n_r ** 2` away from the border and less at it.

    `lipschitz_bound` is that of the factor as it is rounded.

    Args:
        pool_size: Positive integer, or a pair of them: rows and columns of a
            window. Defaults to `2`.
        strides: Positive integer, or a pair of them. Defaults to `pool_size`.
        padding: `"valid"`, which drops the pixels that no window covers, or
            `"same"`, which pads with zeros. Other than in
            `keras.layers.AveragePooling2D` they count as pixels. Defaults to
            `"valid"`.
        data_format: `"channels_last"` or `"channels_first"`. Defaults to
            `None`, for `keras.config.image_data_format()`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        ValueError: If an argument is none of these, the input is smaller than a
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
