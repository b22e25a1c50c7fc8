"""Kernels of skew-symmetric convolutions."""

from keras_lip.operators import adjoint_kernel
from keras_lip.types import Tensor


def skew_kernel(kernel: Tensor) -> Tensor:
    """Subtracts from a convolution its adjoint.

    The adjoint of a convolution without strides has the kernel mirrored in the
    image, with inputs and outputs exchanged. The result is skew-symmetric in
    every bit, and stays so when it is rounded to a narrower type. With zero
    padding or circular padding that is the same on both sides, so is the matrix
    of the convolution, for images of any size.

    Args:
        kernel: Tensor of shape `(*window, channels, channels)`, with a window
            of odd sides.

    Returns:
        Tensor of the same shape.

    Reference:

    - [Singla & Feizi, 2021](https://arxiv.org/abs/2105.11417), Theorem 2
    """
    return kernel - adjoint_kernel(kernel)
