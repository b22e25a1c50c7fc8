"""Kernels of composed convolutions.

This is one of the few files that branch on the backend.
"""

import functools
import itertools
import math
import operator

import keras
from keras import ops

from keras_lip.operators import pad_zeros
from keras_lip.types import Tensor


def block_product(kernels: list[Tensor], rank: int) -> Tensor:
    """Returns the kernel of a composition of convolutions.

    Neighbours are composed first, then pairs of pairs, so that the number of
    sequential steps is logarithmic in the number of kernels.

    Args:
        kernels: List of kernels as in `block_convolution`, in the order of
            application.
        rank: Positive integer. Number of axes of a window.

    Returns:
        Tensor of shape `(*window, ..., rows, columns)`.
    """
    while len(kernels) > 1:
        pairs = zip(kernels[::2], kernels[1::2], strict=False)
        unpaired = kernels[len(kernels) // 2 * 2 :]
        kernels = [block_convolution(*pair, rank) for pair in pairs] + unpaired
    return kernels[0]


def block_convolution(left: Tensor, right: Tensor, rank: int) -> Tensor:
    """Returns the kernel of one convolution followed by another.

    Its tap `n` is the sum of the products `left[p] @ right[q]` over all taps
    with `p + q = n`.

    Args:
        left: Kernel of the convolution that is applied first, a tensor of shape
            `(*window, ..., rows, inner)`. The axes between the window and the
            matrices are a batch.
        right: Kernel of the second convolution, a tensor of shape `(*window,
            ..., inner, columns)`.
        rank: Positive integer. Number of axes of a window.

    Returns:
        Tensor of shape `(*window, ..., rows, columns)`, whose window is as long
        as both windows together, minus one.

    Reference:

    - [Li et al., 2019](https://arxiv.org/abs/1911.00937), section 3.1
    """
    # Use few, large products: one for each tap of the shorter kernel.
    left_taps, right_taps = (math.prod(k.shape[:rank]) for k in (left, right))
    if left_taps <= right_taps:
        short, long = left, right
    else:
        short, long = right, left
    window, others = short.shape[:rank], long.shape[:rank]
    matrices = ops.unstack(ops.reshape(short, (-1, *short.shape[rank:])))
    products = []
    taps = itertools.product(*map(range, window))
    for tap, matrix in zip(taps, matrices, strict=True):
        if keras.backend.backend() == "tensorflow":
            # It writes outside of its memory when products of four axes
            # broadcast on a CPU (tensorflow/tensorflow#117700).
            matrix = ops.broadcast_to(matrix, (*others, *matrix.shape))
        pair = (matrix, long) if short is left else (long, matrix)
        product = ops.matmul(*pair)
        widths = [(p, n - 1 - p) for p, n in zip(tap, window, strict=True)]
        widths += [(0, 0)] * (len(product.shape) - rank)
        products.append(pad_zeros(product, widths))
    return functools.reduce(operator.add, products)
