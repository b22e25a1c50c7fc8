"""Space to depth: moves blocks of pixels into channels."""

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
class InvertibleDownsampling2D(LipschitzLayer):
    """Moves each block of pixels into the channels of one pixel.

    With blocks of `h` rows and `w` columns and an input of `c` channels, the
    output channel `(i * w + j) * c + k` is channel `k` of the pixel in row `i`
    and column `j` of the block. This is the order of `SpaceToDepth` in ONNX and
    in TensorFlow, for both data formats.

    The layer permutes the entries of its input. It is an isometry in every l-p
    norm, so it is 1-Lipschitz and preserves the norm of the gradient.
    `InvertibleUpsampling2D` is its inverse.

    Args:
        pool_size: Positive integer, or a pair: rows and columns of a block.
            Defaults to `2`.
        data_format: `"channels_last"` or `"channels_first"`. Defaults to
            `None`, for `keras.config.image_data_format()`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        ValueError: If an argument is invalid, or the sides of the input are not
            multiples of the sides of a block.

    Input shape:
        `(batch_size, rows, columns, channels)`, or
        `(batch_size, channels, rows, columns)` with `"channels_first"`. The
        sides may be unknown until the layer runs.

    Output shape:
        The same, with `rows / h`, `columns / w` and `channels * h * w`.

    Example:

    >>> layer = keras_lip.layers.InvertibleDownsampling2D(2)
    >>> tuple(layer(np.ones((1, 4, 6, 3))).shape)
    (1, 2, 3, 12)

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
        self._check_sides(input_shape)

    def call(self, inputs: Tensor) -> Tensor:
        self._check_sides(inputs.shape)
        (height, width), shape = self.pool_size, ops.shape(inputs)
        # If sides are unknown, a reshape with unknown batch size could form
        # blocks across samples.
        batch_size = shape[0] if None in inputs.shape[1:] else -1
        if self.data_format == "channels_last":
            rows, columns, channels = shape[1:]
            split = (rows // height, height, columns // width, width, channels)
            order = (0, 1, 3, 2, 4, 5)
        else:
            channels, rows, columns = shape[1:]
            split = (channels, rows // height, height, columns // width, width)
            order = (0, 3, 5, 1, 2, 4)
        blocks = ops.transpose(ops.reshape(inputs, (batch_size, *split)), order)
        _, *merged = self.compute_output_shape(shape)
        return ops.reshape(blocks, (batch_size, *merged))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        shape: list[Any] = list(input_shape)
        axes = image_axes(self.data_format)
        for axis, size in zip(axes, self.pool_size, strict=True):
            if shape[axis] is not None:
                shape[axis] //= size
        (channel_axis,) = {1, 2, 3}.difference(axes)
        if shape[channel_axis] is not None:
            shape[channel_axis] *= self.pool_size[0] * self.pool_size[1]
        return tuple(shape)

    def freeze(self, *inputs: Wire) -> Wire:
        if max(self.pool_size) == 1:
            return inputs[0]
        return on_images(inputs[0], self, SpaceToDepth(self.pool_size))

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "pool_size": self.pool_size,
            "data_format": self.data_format,
        }

    def _check_sides(self, shape: Shape) -> None:
        axes = image_axes(self.data_format)
        for axis, size in zip(axes, self.pool_size, strict=True):
            side = shape[axis]
            if side is not None and side % size:
                raise ValueError(
                    f"The sides of the inputs of layer '{self.name}' must be "
                    "multiples of the sides of its blocks. Crop or pad the "
                    f"inputs. Received: input_shape={tuple(shape)}, "
                    f"pool_size={self.pool_size}, "
                    f"data_format={self.data_format!r}"
                )
