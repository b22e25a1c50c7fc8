"""Kernel of many convolutions, one after the other."""

from keras_lip.linalg.block_convolution import block_convolution
from keras_lip.types import Tensor


def block_product(kernels: list[Tensor], rank: int) -> Tensor:
    """Returns the kernel of convolutions that follow one another.

    Neighbours are composed first, and then the pairs, so that the number of
    dependent steps is the logarithm of the number of kernels.

    Args:
        kernels: List of kernels as `block_convolution` takes them, the one that
            comes first at its head.
        rank: Positive integer. Number of axes of a window.

    Returns:
        Tensor of shape `(*window, ..., rows, columns)`.
    """
    while len(kernels) > 1:
        pairs = zip(kernels[::2], kernels[1::2], strict=False)
        unpaired = kernels[len(kernels) // 2 * 2 :]
        kernels = [block_convolution(*pair, rank) for pair in pairs] + unpaired
    return kernels[0]
