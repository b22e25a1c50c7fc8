"""Proven upper bound on `W R W^T` with a diagonal `R`."""

import math

import numpy as np

from keras_lip.proofs.convolution_norm_bound import convolution_norm_bound
from keras_lip.proofs.rounding import UNDERFLOW
from keras_lip.proofs.rounding import UNIT_ROUNDOFF
from keras_lip.proofs.rounding import add_up
from keras_lip.proofs.rounding import multiply_up
from keras_lip.types import Array


# A number that is not finite makes the bound infinite, and that is that.
@np.errstate(over="ignore", invalid="ignore")
def weighted_gram_bound(kernel: Array, *factors: Array) -> float:
    """Bounds the largest eigenvalue of `W diag(r) W^T`, from above.

    Args:
        kernel: Float64 array of shape `(rows, columns)`, the matrix `W`, or of
            shape `(*window, rows, columns)`, a convolution `W` of images of any
            size.
        *factors: Float64 arrays, scalars or of shape `(columns,)`, of which
            `r` is the product. None is negative.

    Returns:
        Float. The bound; `inf` if a number is not finite.
    """
    # Products and roots are correctly rounded: the next float is above.
    weights = np.ones(kernel.shape[-1])
    for factor in factors:
        weights = np.nextafter(weights * factor, math.inf)
    roots = np.nextafter(np.sqrt(weights), math.inf)
    # Without a window it is a convolution of a single tap, of single pixels.
    *window, rows, columns = kernel.shape
    taps = (kernel * roots).reshape(*(window or [1]), rows, columns)
    norm = convolution_norm_bound(taps)
    # Each entry is off by at most `u` times itself, so that a tap is by `u`
    # times its Frobenius norm. This is at most `min(rows, columns)` times its
    # norm, which is at most that of the convolution.
    error = UNIT_ROUNDOFF * math.prod(window) * min(rows, columns)
    norm = add_up(norm, multiply_up(error, norm), UNDERFLOW)
    return multiply_up(norm, norm)
