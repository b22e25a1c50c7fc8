"""The l2 norms of windows of images."""

import math

import keras
from keras import ops

from keras_lip.layers.pooling.base_pooling2d import BasePooling2D
from keras_lip.layers.pooling.pooled_sums import safe_sqrt
from keras_lip.layers.pooling.pooled_sums import sum_windows
from keras_lip.program.builder import Wire
from keras_lip.program.freezing.reading import on_images
from keras_lip.program.nodes.average_pooling import WindowPool
from keras_lip.program.nodes.pooling import NormPool
from keras_lip.types import Tensor


@keras.saving.register_keras_serializable(package="keras_lip")
class L2NormPooling2D(BasePooling2D):
    """Pools each window to the l2 norm of its pixels, channel by channel.

    A norm is 1-Lipschitz by the triangle inequality. If windows do not overlap,
    they share no pixels, so the layer is 1-Lipschitz in the l2 norm and
    preserves the norm of the gradient. If a pixel lies in up to `n` windows,
    the squared changes of all windows sum to at most `n` times the squared
    change of the image. The norms are therefore divided by `sqrt(n)`.

    The norm has no gradient at zero, so the layer uses zero as its gradient
    there. No epsilon is added under the square root, because the gradient of a
    norm is bounded near zero.

    `lipschitz_bound` accounts for the rounding of this factor.

    Args:
        pool_size: Positive integer, or a pair: rows and columns of a window.
            Defaults to `2`.
        strides: Positive integer, or a pair. Defaults to `None`, for
            `pool_size`.
        padding: `"valid"`, which drops the pixels that no window covers, or
            `"same"`, which pads with zeros. Defaults to `"valid"`.
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

    >>> layer = keras_lip.layers.L2NormPooling2D((1, 2))
    >>> outputs = layer(np.array([[[[3.0], [-4.0]]]]))
    >>> keras.ops.convert_to_numpy(outputs).tolist()
    [[[[5.0]]]]

    Reference:

    - [Sermanet et al., 2012](https://arxiv.org/abs/1204.3968), for pooling by
      norms
    """

    def _squared_constant(self) -> int:
        sizes = zip(self.pool_size, self.strides, strict=True)
        return math.prod(math.ceil(size / stride) for size, stride in sizes)

    def _pool(self, images: Tensor, axes: tuple[int, ...]) -> Tensor:
        squares = ops.square(images)
        return safe_sqrt(
            sum_windows(squares, axes, self.pool_size, self.strides)
        )

    def freeze(self, *inputs: Wire) -> Wire:
        sums = WindowPool(self.pool_size, self.strides, self.padding, 1.0)
        return on_images(inputs[0], self, NormPool(sums, self._running_factor))
