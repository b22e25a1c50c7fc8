"""Bounds on the squared singular values of a convolution, from its taps."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_lip.proofs.rounding import UNDERFLOW
from keras_lip.proofs.rounding import add_up
from keras_lip.proofs.rounding import gamma
from keras_lip.proofs.rounding import inflate_up


def kernel_autocorrelation(kernel: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Computes the autocorrelation of kernels.

    The Fourier series of the result is the Gram matrix `K(w)^H K(w)` of the
    Fourier series `K(w) = sum_a kernel[a] exp(i a w)` of the kernel.

    Args:
        kernel: Float64 array of shape `(groups, *window, rows, columns)`.

    Returns:
        Array of shape `(groups, *lags, columns, columns)`, with `2 * size - 1`
        lags along an axis of the window. The entry at lag `b`, counted from the
        middle, is `sum_a kernel[a]^T kernel[a + b]`. It is a sum of at most
        `taps * rows` products.
    """
    groups, *window, _, columns = kernel.shape
    lags = [2 * size - 1 for size in window]
    correlation = np.empty((groups, *lags, columns, columns))
    for index in np.ndindex(*lags):
        first, second = [slice(None)], [slice(None)]
        for position, size in zip(index, window, strict=True):
            lag = position - (size - 1)
            first.append(slice(max(0, -lag), size - max(0, lag)))
            second.append(slice(max(0, lag), size - max(0, -lag)))
        left = kernel[tuple(first)].reshape(groups, -1, columns)
        right = kernel[tuple(second)].reshape(groups, -1, columns)
        correlation[:, *index] = np.swapaxes(left, -2, -1) @ right
    return correlation


_POWER_STEPS = 30


def kernel_gram_bound(kernel: npt.NDArray[Any]) -> tuple[float, float]:
    """Bounds the eigenvalues of `K(w)^H K(w)` from both sides, for all `w`.

    Let `B` be the sum of the moduli of the taps of the autocorrelation. At
    every frequency, the modulus of each entry of `K(w)^H K(w)` is at most the
    entry of `B`. So, for any positive `v`, the eigenvalues are at most the
    largest `(B v)_i / v_i` (Collatz-Wielandt) and at least the smallest
    `2 d_i - (B v)_i / v_i`, where `d_i` are the diagonal entries of the tap at
    lag zero (Gershgorin).

    The bounds are cheap, and they are tight if the kernel is close to
    orthogonal. They are exact for almost-orthogonal layers, which are rescaled
    by the same bound. Squaring the autocorrelation would tighten the bounds,
    but more slowly than a grid of frequencies, and not at all near an
    orthogonal kernel.

    Args:
        kernel: Float64 array of shape `(groups, *window, rows, columns)`,
            scaled to the order of one.

    Returns:
        Two floats: a lower bound, at least zero, and an upper bound.

    Reference:

    - [Delattre et al., 2024](https://arxiv.org/abs/2402.00240)
    - [Prach & Lampert, 2022](https://arxiv.org/abs/2208.03160), Theorem 2.
    """
    *_, rows, columns = kernel.shape
    window_axes = tuple(range(1, kernel.ndim - 2))
    taps = math.prod(kernel.shape[1:-2])
    correlation = kernel_autocorrelation(kernel)
    lags = math.prod(correlation.shape[1:-2])
    moduli = np.sum(np.abs(correlation), axis=window_axes)
    kernel_moduli = np.sum(np.abs(kernel), axis=window_axes)
    vector = _dominant_vector(moduli)
    # The error of the autocorrelation is at most `gamma(taps * rows)` times the
    # autocorrelation of the moduli, whose taps add up to `kernel_moduli^T
    # kernel_moduli`.
    error = gamma(taps * rows) * (
        np.swapaxes(kernel_moduli, -2, -1) @ (kernel_moduli @ vector)
    )
    # The computations below are sums of positive terms and a few more
    # operations. The sums have `lags` and `columns` terms, or `taps`, `taps`,
    # `rows` and `columns` terms.
    roundings = lags + 2 * taps + rows + columns + 8
    ratios = (moduli @ vector + error) / vector
    upper = inflate_up(float(np.max(ratios)), roundings)
    middle = tuple(size - 1 for size in kernel.shape[1:-2])
    diagonal = np.einsum("...ii->...i", correlation[:, *middle])
    # The error of `d_i` is at most `error / vector`. The terms add up to at
    # most `3 * upper`, and their error is at most `gamma(2 * roundings)` times
    # this sum.
    lower = float(np.min(2 * (diagonal[..., None] - error / vector) - ratios))
    lower -= 8 * upper * gamma(roundings)
    return max(0.0, lower), add_up(upper, UNDERFLOW)


def _dominant_vector(matrices: npt.NDArray[Any]) -> npt.NDArray[Any]:
    # The bound holds for any positive vector, and the iteration decreases it.
    vector = np.ones((*matrices.shape[:-1], 1))
    for _ in range(_POWER_STEPS):
        vector = matrices @ vector
        largest = np.max(vector, axis=-2, keepdims=True)
        vector /= np.where(largest > 0, largest, 1)
        vector = np.maximum(vector, 2.0**-300)
    return vector
