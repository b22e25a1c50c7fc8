"""Proven Lipschitz constant of a residual block with two kernels."""

import math

import numpy as np

from keras_lip.proofs.convolution_norm_bound import convolution_norm_bound
from keras_lip.proofs.convolution_norm_bound import tap_norm_bound
from keras_lip.proofs.rounding import UNDERFLOW
from keras_lip.proofs.rounding import UNIT_ROUNDOFF
from keras_lip.proofs.rounding import add_down
from keras_lip.proofs.rounding import add_up
from keras_lip.proofs.rounding import multiply_up
from keras_lip.types import Array


# If a number is not finite, the bound is infinite, and no warning is needed.
@np.errstate(over="ignore", invalid="ignore")
def weighted_gram_bound(kernel: Array, *factors: Array) -> float:
    """Computes an upper bound on the largest eigenvalue of `W diag(r) W^T`.

    Args:
        kernel: Float64 array of shape `(rows, columns)`, for a matrix `W`, or
            of shape `(*window, rows, columns)`, for a convolution `W` of images
            of any size.
        *factors: Non-negative float64 arrays, scalars or of shape `(columns,)`.
            `r` is their product.

    Returns:
        Float. The bound; `inf` if a number is not finite.
    """
    # Products and roots are correctly rounded, so the next float is an upper
    # bound.
    weights = np.ones(kernel.shape[-1])
    for factor in factors:
        weights = np.nextafter(weights * factor, math.inf)
    roots = np.nextafter(np.sqrt(weights), math.inf)
    # A kernel without a window is a convolution with one tap, of single pixels.
    *window, rows, columns = kernel.shape
    taps = (kernel * roots).reshape(*(window or [1]), rows, columns)
    norm = convolution_norm_bound(taps)
    # The error of each entry is at most `u` times the entry, so the error of a
    # tap is at most `u` times its Frobenius norm. The Frobenius norm is at most
    # `min(rows, columns)` times the norm of the tap, which is at most the norm
    # of the convolution.
    error = UNIT_ROUNDOFF * math.prod(window) * min(rows, columns)
    norm = add_up(norm, multiply_up(error, norm), UNDERFLOW)
    return multiply_up(norm, norm)


# Larger than the error of a product by underflow.
_SMALLEST = float(np.finfo("float64").tiny)


# If a number is not finite, the bound is infinite, and no warning is needed.
@np.errstate(over="ignore", invalid="ignore")
def residual_bound(kernel: Array, back: Array) -> float:
    """Bounds the Lipschitz constant of `x - back^T s(kernel x + b)`, in l2.

    Here `kernel` stands for the linear map with this kernel, `back^T` for the
    adjoint of the linear map with the kernel `back`, and `s` is non-decreasing
    and 1-Lipschitz.

    Up to rounding, `back` is `kernel` times a factor `r >= 0` for each hidden
    unit. The Jacobian is `I - K D r K^T` with slopes `D` in `[0, 1]`. Its
    eigenvalues are between `1 - |K r K^T|` and one, so the constant is at most
    `max(1, |K r K^T| - 1)`. The difference `E` between `back` and this product
    adds `|E| |K|`. Any `r` gives a valid bound; the code uses the `r` that fits
    best.

    Args:
        kernel: Float64 array of shape `(rows, hidden)`, or of shape `(*window,
            rows, hidden)`, for a convolution of images of any size.
        back: Float64 array of the same shape.

    Returns:
        Float. The bound; `inf` if a number is not finite.

    Reference:

    - [Meunier et al., 2022](https://arxiv.org/abs/2110.12690), and
      [Araujo et al., 2023](https://arxiv.org/abs/2303.03169), Theorem 3, for
      the bound of one if `|K r K^T|` is at most two
    """
    square, rest = _split_product(kernel, back)
    return add_up(max(1.0, add_up(square, -1.0)), rest)


# If a number is not finite, nothing is known, and no warning is needed.
@np.errstate(over="ignore", invalid="ignore")
def residual_contraction_bound(kernel: Array, back: Array) -> float:
    """Bounds from below how much the block of `residual_bound` contracts.

    With the same notation, the eigenvalues of the symmetric part of the
    Jacobian are at least `1 - |K r K^T|`, minus `|E| |K|`. The block is then
    strongly monotone, and stretches all distances by at least this number.

    Args:
        kernel: As in `residual_bound`.
        back: As in `residual_bound`.

    Returns:
        Float, at least zero. Zero if nothing is known.
    """
    square, rest = _split_product(kernel, back)
    return max(0.0, add_down(1.0, -square, -rest))


def _split_product(kernel: Array, back: Array) -> tuple[float, float]:
    """Bounds `|K r K^T|` and `|E| |K|`."""
    taps = tuple(range(kernel.ndim - 1))
    # After scaling, the squares of kernels of any magnitude are in range.
    largest = np.max(np.abs(kernel), initial=_SMALLEST)
    scaled = kernel / largest
    squares = np.sum(np.square(scaled), axis=taps)
    ratios = np.sum(scaled * back, axis=taps) / np.maximum(squares, _SMALLEST)
    ratios = np.maximum(ratios / largest, 0.0)
    square = weighted_gram_bound(kernel, ratios)
    product = kernel * ratios
    # The product and the difference are rounded once each.
    rounded = (np.abs(back) + np.abs(product)) * 2.0**-50 + _SMALLEST
    rest = _norm_bound(np.abs(back - product) + rounded)
    return square, multiply_up(rest, _norm_bound(kernel))


def _norm_bound(kernel: Array) -> float:
    # A kernel without a window is a convolution of single pixels.
    return tap_norm_bound(kernel if kernel.ndim > 2 else kernel[np.newaxis])
