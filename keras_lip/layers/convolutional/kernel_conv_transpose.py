"""Transposed convolutions with a kernel that can be written down."""

from typing import Any

from keras_lip.layers.convolutional.explicit_conv import ExplicitConv
from keras_lip.program.node import Node
from keras_lip.program.nodes.transposed_convolution import TransposedConvolution
from keras_lip.types import Array
from keras_lip.types import Tensor


class KernelConvTranspose(ExplicitConv):
    """Applies the adjoint of the convolution with the kernel.

    That convolution goes from images of `filters` channels, whose sides are
    those of the outputs here, to images of the shape of the inputs.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.groups > 1:
            raise ValueError(
                f"`{type(self).__name__}` has no groups, as Keras has no "
                "transposed convolution of them. Received: "
                f"groups={self.groups}"
            )

    def kernel_channels(self, channels: int) -> tuple[int, int]:
        return self.filters, channels

    def apply_kernel(self, kernel: Tensor, images: Tensor) -> Tensor:
        return self.operator.adjoint(kernel, images)

    def output_side(self, side: int, taps: int, stride: int) -> int:
        if self.padding == "valid":
            return (side - 1) * stride + max(taps, stride)
        return side * stride

    def make_node(self, kernel: Array, bias: Array | None) -> Node:
        operator = self.operator
        none = ((0, 0),) * self.rank
        wrapping = operator.adjoint_padding(kernel)
        return TransposedConvolution(
            kernel,
            bias,
            self.strides,
            self.dilation_rate,
            1,
            tuple(wrapping) if operator.is_circular else none,
            tuple(operator.adjoint_cropping(kernel)),
        )
