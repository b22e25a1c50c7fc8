"""Proven constant of a residual block of two kernels."""

import math

import numpy as np

from keras_lip.proofs.convolution_norm_bound import convolution_norm_bound
from keras_lip.proofs.convolution_norm_bound import tap_norm_bound
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


# More than a product loses to underflow.
_SMALLEST = float(np.finfo("float64").tiny)


# A number that is not finite makes the bound infinite, and that is that.
@np.errstate(over="ignore", invalid="ignore")
def residual_bound(kernel: Array, back: Array) -> float:
    """Bounds the Lipschitz constant of `x - back^T s(kernel x + b)`, in l2.

    Here `kernel` stands for the linear map of that kernel, `back^T` for the
    adjoint of that of `back`, and `s` is non-decreasing and 1-Lipschitz.

    Up to rounding, `back` is `kernel` with a factor `r >= 0` for each hidden
    unit. The Jacobian is `I - K D r K^T` with slopes `D` in `[0, 1]`, and with
    eigenvalues between `1 - |K r K^T|` and one, so that the constant is at most
    `max(1, |K r K^T| - 1)`. What `back` differs by, `E`, adds `|E| |K|`. Any
    `r` gives a bound; the one that fits best is taken.

    Args:
        kernel: Float64 array of shape `(rows, hidden)`, or of shape
            `(*window, rows, hidden)`, a convolution of images of any size.
        back: Float64 array of the same shape.

    Returns:
        Float. The bound; `inf` if a number is not finite.

    Reference:

    - [Meunier et al., 2022](https://arxiv.org/abs/2110.12690), and
      [Araujo et al., 2023](https://arxiv.org/abs/2303.03169), Theorem 3, for
      the bound of one where `|K r K^T|` is at most two
    """
    taps = tuple(range(kernel.ndim - 1))
    # Kernels of any magnitude have squares in range once they are scaled.
    largest = np.max(np.abs(kernel), initial=_SMALLEST)
    scaled = kernel / largest
    squares = np.sum(np.square(scaled), axis=taps)
    ratios = np.sum(scaled * back, axis=taps) / np.maximum(squares, _SMALLEST)
    ratios = np.maximum(ratios / largest, 0.0)
    first = max(1.0, add_up(weighted_gram_bound(kernel, ratios), -1.0))
    product = kernel * ratios
    # The product and the difference are each rounded once.
    rounded = (np.abs(back) + np.abs(product)) * 2.0**-50 + _SMALLEST
    rest = _norm_bound(np.abs(back - product) + rounded)
    return add_up(first, multiply_up(rest, _norm_bound(kernel)))


def _norm_bound(kernel: Array) -> float:
    # Without a window it is a convolution of a single pixel.
    return tap_norm_bound(kernel if kernel.ndim > 2 else kernel[np.newaxis])
