"""What the pooling layers over whole images share."""

from typing import Any

import keras

from keras_lip.layers.image_format import check_data_format
from keras_lip.layers.image_format import image_axes
from keras_lip.layers.lipschitz_layer import LipschitzLayer
from keras_lip.layers.to_functional import to_functional
from keras_lip.types import Config
from keras_lip.types import Shape


class BaseGlobalPooling2D(LipschitzLayer):
    """Pools each channel of an image to one number.

    Args:
        data_format: `"channels_last"` or `"channels_first"`. Defaults to that
            of the Keras configuration.
        keepdims: Boolean. Whether to keep the sides, of size one.
        **kwargs: Passed to `keras.layers.Layer`.
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
        self.axes = image_axes(self.data_format)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        sizes = enumerate(input_shape)
        if self.keepdims:
            return tuple(1 if i in self.axes else size for i, size in sizes)
        return tuple(size for i, size in sizes if i not in self.axes)

    def to_keras_layer(self, audited: bool = True) -> keras.Model:
        return to_functional(self)

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "data_format": self.data_format,
            "keepdims": self.keepdims,
        }
