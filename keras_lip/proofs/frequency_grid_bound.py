"""Bound on the squared norm of a convolution, from a grid of frequencies."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_lip.proofs.kernel_gram_bound import kernel_autocorrelation
from keras_lip.proofs.matrix_norms import largest_eigenvalue_bound
from keras_lip.proofs.rounding import UNDERFLOW
from keras_lip.proofs.rounding import add_up
from keras_lip.proofs.rounding import divide_up
from keras_lip.proofs.rounding import frobenius_norm_up
from keras_lip.proofs.rounding import gamma
from keras_lip.proofs.rounding import inflate_up
from keras_lip.proofs.rounding import multiply_up

_ENTRIES_PER_CHUNK = 2**20
_MAX_FREQUENCIES = 2**16


def frequency_grid_bound(
    kernel: npt.NDArray[Any], lower: float, points: int
) -> float:
    """Bounds the eigenvalues of `K(w)^H K(w)` at all frequencies, from above.

    For a fixed vector `u`, `p(w) = |K(w) u|^2` is a trigonometric polynomial
    of degree `size - 1` along each axis. Let it reach the largest eigenvalue
    `M`, and let `m` be a bound on all eigenvalues from below. By a lemma of M.
    Riesz, a polynomial of degree `d` with values in `[m, M]` stays, within `t`
    of where it reaches `M`, above `m + (M - m) cos(d t / 2)^2`. The nearest of
    `N` equidistant points is within `pi / N`. One axis at a time, the largest
    eigenvalue `g` on the grid thus obeys
    `g - m >= (M - m) prod_axes cos(pi (size - 1) / (2 N))^2`.

    Args:
        kernel: Float64 array of shape `(groups, *window, rows, columns)`,
            scaled to the order of one.
        lower: Float. Bound on all eigenvalues from below, at least zero.
        points: Integer. Number of frequencies along an axis, at least the
            size of the window.

    Returns:
        Float. The bound, the largest of the groups.

    Reference:

    - Riesz, 1914, "Eine trigonometrische Interpolationsformel und einige
      Ungleichungen fuer Polynome", Jahresbericht der DMV 23, pages 354-368.
    """
    window = kernel.shape[1:-2]
    if points < max(window):
        raise ValueError(
            "`points` must be at least the size of the window. "
            f"Received: points={points}, kernel.shape={kernel.shape}"
        )
    largest = _bound_on_grid(kernel, points)
    inverse_cosines = 1.0
    for size in window:
        # The cosine is accurate to a few units of 2**-53.
        cosine = math.cos(math.pi * (size - 1) / (2 * points)) - 2.0**-48
        factor = divide_up(1.0, cosine) if size > 1 else 1.0
        inverse_cosines = multiply_up(inverse_cosines, factor, factor)
    excess = add_up(largest, -lower)
    return add_up(lower, multiply_up(excess, inverse_cosines))


def num_grid_points(window: Sequence[int], slack: float) -> int:
    """Returns how many frequencies per axis bound a norm up to `slack`.

    Args:
        window: Integers. Spatial shape of the kernel.
        slack: Float. Targeted relative excess of `frequency_grid_bound`, on the
            norm, for `lower=0`. It is missed if it took too many frequencies.
    """
    # 1 / cos(x) is about 1 + x**2 / 2.
    degrees = [size - 1 for size in window if size > 1]
    points = math.pi / 2 * math.hypot(*degrees) / math.sqrt(2 * slack)
    affordable = math.pow(_MAX_FREQUENCIES, 1 / max(1, len(degrees)))
    fewest = 2 * max(degrees, default=1)
    return max(fewest, math.ceil(min(points, affordable)))


def _bound_on_grid(kernel: npt.NDArray[Any], points: int) -> float:
    groups, *window, rows, columns = kernel.shape
    correlation = kernel_autocorrelation(kernel)
    lags = correlation.shape[1:-2]
    taps = correlation.reshape(groups, -1, columns * columns)
    offsets = np.indices(lags).reshape(len(lags), -1)
    offsets -= np.array(window)[:, None] - 1
    frequencies = _half_grid(window, points)
    chunk = max(1, _ENTRIES_PER_CHUNK // (groups * columns * columns))
    # Exact multiples of a turn, in range, so that `angles` is accurate.
    angles = [2 * math.pi * turn / points for turn in range(points)]
    cosines = np.array([math.cos(angle) for angle in angles])
    sines = np.array([math.sin(angle) for angle in angles])
    bound = 0.0
    for start in range(0, len(frequencies), chunk):
        phases = frequencies[start : start + chunk] @ offsets % points
        grams = np.empty((groups, len(phases), columns, columns), complex)
        shape = grams.shape
        grams.real = (cosines[phases] @ taps).reshape(shape)
        grams.imag = (sines[phases] @ taps).reshape(shape)
        # With the bound so far for a guess, it is rarely raised, and then the
        # eigenvalues of the chunk are computed to raise it.
        bound = largest_eigenvalue_bound(grams, guess=bound)
        if bound == math.inf:
            break
    return add_up(bound, _gram_error_up(kernel, math.prod(lags)))


def _gram_error_up(kernel: npt.NDArray[Any], lags: int) -> float:
    """Bounds the error of the Gram matrices, in the Frobenius norm."""
    _, *window, rows, _ = kernel.shape
    taps = math.prod(window)
    moduli = np.sum(np.abs(kernel), axis=tuple(range(1, kernel.ndim - 2)))
    norm = inflate_up(frobenius_norm_up(moduli), taps)
    # All errors are relative to `moduli^T moduli`, entry by entry:
    # `gamma(taps * rows)` for the autocorrelation; 32 u for the cosines, 20 u
    # of which are the angle's; `gamma(lags)` for the sum. The last two add up
    # to at most `gamma(lags + 32)`, in the real and the imaginary part, so to
    # `2 * gamma(lags + 32)` in modulus.
    error = gamma(taps * rows + 2 * lags + 64)
    return add_up(multiply_up(error, norm, norm), UNDERFLOW)


def _half_grid(window: Sequence[int], points: int) -> npt.NDArray[Any]:
    """Returns frequencies, one of each pair `w`, `-w`, in mixed order.

    The kernel is real, hence its Gram matrices at `w` and `-w` are conjugate.
    """
    shape = [points if size > 1 else 1 for size in window]
    frequencies = np.indices(shape).reshape(len(shape), -1)
    opposite = -frequencies % np.array(shape)[:, None]
    index = np.ravel_multi_index(tuple(frequencies), shape)
    mirror = np.ravel_multi_index(tuple(opposite), shape)
    half = frequencies.T[index <= mirror]
    # Mixed, so that a guess made from the first frequencies is a good one.
    return np.random.default_rng(0).permutation(half)
