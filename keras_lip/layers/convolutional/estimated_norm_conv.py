"""Convolutions divided by an estimate of their norm."""

import abc
from typing import Any

from keras import ops

from keras_lip.layers.convolutional.kernel_conv import KernelConv
from keras_lip.layers.shrink_kernel import shrink_kernel
from keras_lip.linalg import power_iteration
from keras_lip.linalg import start_vector
from keras_lip.traces import can_move
from keras_lip.types import Shape
from keras_lip.types import Tensor

# Iterations of the power method, as those of `ConvexPotentialDense`.
_TRAINING_ITERATIONS = 1
_INFERENCE_ITERATIONS = 100

# The side of the image on which the norm is estimated where the sides of the
# inputs are not known: the norm hardly depends on it.
_DEFAULT_SIDE = 32


class EstimatedNormConv(KernelConv):
    """Divides the kernel by a norm that the power method estimates.

    The method runs on the convolution itself, of images of the size that the
    layer is built for. Its vector is an image, and a non-trainable weight.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.groups > 1:
            raise ValueError(
                f"`{type(self).__name__}` has no groups. Received: "
                f"groups={self.groups}. Use `AOLConv2D` or `RKOConv2D`."
            )

    def add_kernel(self, channels: int, sides: Shape) -> None:
        self.free_kernel = self.add_free_kernel(channels)
        self.power_iteration_vector = self.add_weight(
            name="power_iteration_vector",
            shape=(1, *self._image_sides(sides), channels),
            initializer=start_vector,
            trainable=False,
            autocast=False,
        )

    def _image_sides(self, sides: Shape) -> tuple[int, ...]:
        """Returns the sides of the smallest image with the same outputs."""
        read = []
        for side, taps, stride in zip(
            sides, self.extent(), self.strides, strict=True
        ):
            if side is None:
                side = max(_DEFAULT_SIDE, taps)
            outputs = self.output_side(side, taps, stride)
            if self.padding == "valid":
                read.append((outputs - 1) * stride + max(taps, stride))
            else:
                read.append(outputs * stride)
        return tuple(read)

    @abc.abstractmethod
    def scale(self, kernel: Tensor) -> Tensor:
        """Returns the multiple of the kernel that is divided by its norm."""

    @abc.abstractmethod
    def divide(self, kernel: Tensor, norm: Tensor) -> Tensor:
        """Divides a kernel by its norm, as it is estimated."""

    def compute_kernel(self, training: bool = False) -> Tensor:
        kernel = self.scale(ops.convert_to_tensor(self.free_kernel))
        training = training and can_move(self.power_iteration_vector)
        norm, vector = power_iteration(
            self.operator,
            kernel,
            ops.convert_to_tensor(self.power_iteration_vector),
            _TRAINING_ITERATIONS if training else _INFERENCE_ITERATIONS,
        )
        if training:
            self.power_iteration_vector.assign(vector)
        return self.divide(kernel, norm)

    def proven_kernel(self) -> Tensor:
        kernel = self.kernel
        return shrink_kernel(kernel, self.bound_norm(kernel))
