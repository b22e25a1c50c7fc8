"""The base class of pooling layers over whole images."""

from typing import Any

import keras

from keras_lip.layers.image_format import check_data_format
from keras_lip.layers.image_format import image_axes
from keras_lip.layers.lipschitz_layer import LipschitzLayer
from keras_lip.program.builder import Wire
from keras_lip.program.nodes.selections import Reshape
from keras_lip.types import Config
from keras_lip.types import Shape


class BaseGlobalPooling2D(LipschitzLayer):
    """Pools each channel of an image to one number.

    Args:
        data_format: `"channels_last"` or `"channels_first"`. Defaults to
            `None`, for `keras.config.image_data_format()`.
        keepdims: Boolean. Whether to keep the image axes with size one.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.
    """

    def __init__(
        self,
        data_format: str | None = None,
        keepdims: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.data_format = check_data_format(data_format)
        self.keepdims = keepdims
        self.input_spec = keras.layers.InputSpec(ndim=4)

    @property
    def axes(self) -> tuple[int, int]:
        """The axes of the rows and of the columns."""
        return image_axes(self.data_format)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        sizes = enumerate(input_shape)
        if self.keepdims:
            return tuple(1 if i in self.axes else size for i, size in sizes)
        return tuple(size for i, size in sizes if i not in self.axes)

    def _drop_sides(self, x: Wire) -> Wire:
        """Drops the image axes of size one."""
        channels = (x.shape or (None,) * 3)[2 if self.axes == (1, 2) else 0]
        if self.keepdims or channels is None:
            return x
        return x.then(Reshape((channels,)))

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "data_format": self.data_format,
            "keepdims": self.keepdims,
        }
