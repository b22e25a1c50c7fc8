"""Kernels of composed convolutions."""

import functools
import operator

import numpy as np
from keras import ops

from keras_lip.types import Tensor


def block_convolution(left: Tensor, right: Tensor, rank: int) -> Tensor:
    """Returns the kernel of one convolution followed by another.

    Its tap `n` is the sum of the products `left[p] @ right[q]` over all taps
    with `p + q = n`.

    Args:
        left: Kernel of the convolution that comes first, a tensor of shape
            `(*window, ..., rows, inner)`.
        right: Kernel of the other one, a tensor of shape `(*window, ..., inner,
            columns)`. The axes between window and matrices are a batch.
        rank: Positive integer. Number of axes of a window.

    Returns:
        Tensor of shape `(*window, ..., rows, columns)`, whose windows are as
        long as both together, less one.

    Reference:

    - [Li et al., 2019](https://arxiv.org/abs/1911.00937), section 3.1
    """
    window = left.shape[:rank]
    rest = [(0, 0)] * (len(right.shape) - rank)
    products = []
    for tap in np.ndindex(*window):
        product = ops.matmul(left[tap], right)
        before = [(p, n - 1 - p) for p, n in zip(tap, window, strict=True)]
        products.append(ops.pad(product, before + rest))
    return functools.reduce(operator.add, products)


def block_product(kernels: list[Tensor], rank: int) -> Tensor:
    """Returns the kernel of many convolutions, one after the other.

    Neighbours are composed first, and then the pairs, so that the number of
    steps one after the other is the logarithm of the number of kernels.

    Args:
        kernels: List of kernels as in `block_convolution`, first things first.
        rank: Positive integer. Number of axes of a window.

    Returns:
        Tensor of shape `(*window, ..., rows, columns)`.
    """
    while len(kernels) > 1:
        pairs = zip(kernels[::2], kernels[1::2], strict=False)
        last = kernels[len(kernels) // 2 * 2 :]
        kernels = [block_convolution(*pair, rank) for pair in pairs] + last
    return kernels[0]
