"""Depth to space: moves channels into blocks of pixels."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_lip.layers.image_format import check_data_format
from keras_lip.layers.image_format import check_sizes
from keras_lip.layers.image_format import image_axes
from keras_lip.layers.lipschitz_layer import LipschitzLayer
from keras_lip.program.builder import Wire
from keras_lip.program.freezing.reading import on_images
from keras_lip.program.nodes.selections import SpaceToDepth
from keras_lip.proofs.norms import NORMS
from keras_lip.types import Config
from keras_lip.types import Shape
from keras_lip.types import Tensor


@keras.saving.register_keras_serializable(package="keras_lip")
class InvertibleUpsampling2D(LipschitzLayer):
    """Moves the channels of each pixel into a block of pixels.

    With blocks of `h` rows and `w` columns and an output of `c` channels,
    channel `k` of the pixel in row `i` and column `j` of a block is the input
    channel `(i * w + j) * c + k`. This is the order of `DepthToSpace` in ONNX
    and in TensorFlow, for both data formats.

    The layer permutes the entries of its input. It is an isometry in every l-p
    norm, so it is 1-Lipschitz and preserves the norm of the gradient. It is the
    inverse of `InvertibleDownsampling2D`.

    Args:
        pool_size: Positive integer, or a pair: rows and columns of a block.
            Defaults to `2`.
        data_format: `"channels_last"` or `"channels_first"`. Defaults to
            `None`, for `keras.config.image_data_format()`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        ValueError: If an argument is invalid, or the number of channels is
            unknown or not a multiple of the pixels of a block.

    Input shape:
        `(batch_size, rows, columns, channels)`, or
        `(batch_size, channels, rows, columns)` with `"channels_first"`. The
        sides may be unknown until the layer runs.

    Output shape:
        The same, with `rows * h`, `columns * w` and `channels / (h * w)`.

    Example:

    >>> layer = keras_lip.layers.InvertibleUpsampling2D(2)
    >>> tuple(layer(np.ones((1, 2, 3, 12))).shape)
    (1, 4, 6, 3)

    Reference:

    - [Jacobsen et al., 2018](https://arxiv.org/abs/1802.07088), section 3.1
    """

    norms = NORMS
    guarantee = "permutation"

    def __init__(
        self,
        pool_size: int | Sequence[int] = 2,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.pool_size = check_sizes("pool_size", pool_size)
        self.data_format = check_data_format(data_format)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape: Shape) -> None:
        axis = self._channel_axis()
        channels = input_shape[axis]
        pixels = self.pool_size[0] * self.pool_size[1]
        if channels is None or channels % pixels:
            raise ValueError(
                f"Layer '{self.name}' needs a number of channels that is a "
                f"multiple of {pixels}, the pixels of a block. Received: "
                f"{channels} channels on axis {axis} of "
                f"input_shape={tuple(input_shape)}"
            )
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={axis: channels})

    def call(self, inputs: Tensor) -> Tensor:
        shape = ops.shape(inputs)
        _, *merged = self.compute_output_shape(shape)
        if self.data_format == "channels_last":
            split = (*shape[1:3], *self.pool_size, merged[2])
            order = (0, 1, 3, 2, 4, 5)
        else:
            split = (*self.pool_size, merged[0], *shape[2:])
            order = (0, 3, 4, 1, 5, 2)
        blocks = ops.transpose(ops.reshape(inputs, (-1, *split)), order)
        return ops.reshape(blocks, (-1, *merged))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        shape: list[Any] = list(input_shape)
        axes = image_axes(self.data_format)
        for axis, size in zip(axes, self.pool_size, strict=True):
            if shape[axis] is not None:
                shape[axis] *= size
        channel_axis = self._channel_axis()
        if shape[channel_axis] is not None:
            shape[channel_axis] //= self.pool_size[0] * self.pool_size[1]
        return tuple(shape)

    def freeze(self, *inputs: Wire) -> Wire:
        node = SpaceToDepth(self.pool_size, inverse=True)
        return on_images(inputs[0], self, node)

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "pool_size": self.pool_size,
            "data_format": self.data_format,
        }

    def _channel_axis(self) -> int:
        return 3 if self.data_format == "channels_last" else 1
