"""Kernels brought to a norm of at most one, provably."""

import numpy as np
from keras import ops

from keras_lip.types import Tensor


def shrink_kernel(kernel: Tensor, norm_bound: float) -> Tensor:
    """Divides a kernel by a proven bound on its norm, where that exceeds one.

    Args:
        kernel: Float32 tensor.
        norm_bound: Float. A bound from above on the norm of its operator.

    Returns:
        Float32 tensor of a norm of at most one, roundings included.
    """
    if norm_bound <= 1:
        return kernel
    # Two units in the last place make up for the rounding of the factor and of
    # the product; what the latter adds to the norm is far below its modulus.
    return ops.multiply(kernel, np.float32((1 - 2.0**-22) / norm_bound))
