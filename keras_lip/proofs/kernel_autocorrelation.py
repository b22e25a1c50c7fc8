"""Autocorrelation of a convolution kernel, the kernel of its Gram operator."""

from typing import Any

import numpy as np
import numpy.typing as npt


def kernel_autocorrelation(kernel: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Correlates kernels with themselves.

    The Fourier series of the result is the Gram matrix `K(w)^H K(w)` of the
    Fourier series `K(w) = sum_a kernel[a] exp(i a w)` of the kernel.

    Args:
        kernel: Float64 array of shape `(groups, *window, rows, columns)`.

    Returns:
        Array of shape `(groups, *lags, columns, columns)`, with `2 * size - 1`
        lags along an axis of the window. At lag `b`, counted from the middle,
        is `sum_a kernel[a]^T kernel[a + b]`, a sum of at most `taps * rows`
        products.
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
