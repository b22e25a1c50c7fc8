"""Kernels made non-expansive by almost-orthogonal rescaling."""

from keras import ops

from keras_lip.layers.convolutional.explicit_conv import ExplicitConv
from keras_lip.linalg import rescale_kernel
from keras_lip.types import Shape
from keras_lip.types import Tensor


class AOLKernel(ExplicitConv):
    """What the AOL convolutions of all ranks and both directions share."""

    def add_kernel(self, channels: int, sides: Shape) -> None:
        self.free_kernel = self.add_free_kernel(channels)

    def compute_kernel(self, training: bool = False) -> Tensor:
        kernel = ops.convert_to_tensor(self.free_kernel)
        return rescale_kernel(kernel, self.strides, self.groups)

    def proven_kernel(self) -> Tensor:
        return self.kernel
