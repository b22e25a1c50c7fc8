"""Convolutions with a kernel that can be written down."""

from keras_lip.layers.convolutional.explicit_conv import ExplicitConv
from keras_lip.program.node import Node
from keras_lip.program.nodes.convolution import Convolution
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

    def make_node(self, kernel: Array, bias: Array | None) -> Node:
        operator = self.operator
        strided_same = self.padding == "same" and not operator.is_circular
        widths = None
        if not strided_same or max(self.strides) == 1:
            widths = tuple(operator.padding_widths(kernel))
        return Convolution(
            kernel,
            bias,
            self.strides,
            self.dilation_rate,
            self.groups,
            widths,
            operator.is_circular,
        )
