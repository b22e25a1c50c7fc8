"""Convolutions with a kernel that can be written down."""

import keras

from keras_lip.layers.convolutional.explicit_conv import ExplicitConv
from keras_lip.layers.convolutional.stock_convolution import stock_convolution
from keras_lip.types import Array
from keras_lip.types import Shape
from keras_lip.types import Tensor


class KernelConv(ExplicitConv):
    """Convolves with the kernel."""

    def build(self, input_shape: Shape) -> None:
        self.operator.check_sides(self.to_channels_last(input_shape)[1:-1])
        super().build(input_shape)

    def kernel_channels(self, channels: int) -> tuple[int, int]:
        if channels % self.groups:
            raise ValueError(
                f"The channels of the inputs of layer '{self.name}' must be a "
                f"multiple of its groups. Received: {channels} channels, "
                f"groups={self.groups}"
            )
        return channels // self.groups, self.filters

    def apply_kernel(self, kernel: Tensor, images: Tensor) -> Tensor:
        return self.operator.matvec(kernel, images)

    def stock_layer(self, weights: list[Array]) -> keras.layers.Layer:
        return stock_convolution(self, weights)
