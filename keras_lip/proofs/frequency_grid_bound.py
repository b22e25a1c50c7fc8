"""Upper bound on the squared norm of a convolution, by a frequency grid."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_lip.proofs.frequency_grams import FrequencyGrams
from keras_lip.proofs.frequency_grams import one_of_each_pair
from keras_lip.proofs.matrix_norms import largest_eigenvalue_bound
from keras_lip.proofs.rounding import UNIT_ROUNDOFF
from keras_lip.proofs.rounding import add_up
from keras_lip.proofs.rounding import divide_up
from keras_lip.proofs.rounding import multiply_up

_MAX_FREQUENCIES = 2**16


def frequency_grid_bound(
    kernel: npt.NDArray[Any], lower: float, points: int
) -> float:
    """Bounds the eigenvalues of `K(w)^H K(w)` from above, for all frequencies.

    For a fixed vector `u`, `p(w) = |K(w) u|^2` is a trigonometric polynomial of
    degree `size - 1` along each axis. Choose `u` so that `p` reaches the
    largest eigenvalue `M`, and let `m` be a lower bound on all eigenvalues.
    Consider a trigonometric polynomial of degree `d` with values in `[m, M]`.
    By a lemma of M. Riesz, within a distance `t` of a point where it reaches
    `M`, it is at least `m + (M - m) cos(d t / 2)^2`. The nearest of `N`
    equidistant points is within `pi / N`. Applied to one axis after another,
    this shows that the largest eigenvalue `g` on the grid satisfies `g - m >=
    (M - m) prod_axes cos(pi (size - 1) / (2 N))^2`.

    Args:
        kernel: Float64 array of shape `(groups, *window, rows, columns)`,
            scaled to the order of one.
        lower: Float. Lower bound on all eigenvalues, at least zero.
        points: Integer. Number of frequencies along an axis. It must be at
            least the size of the window.

    Returns:
        Float. The largest bound over all groups.

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
    sizes = np.array([points if size > 1 else 1 for size in window])
    largest = bound_on_grid(
        FrequencyGrams(kernel), [np.arange(size) for size in sizes], sizes
    )
    inverse_cosines = 1.0
    for size in window:
        # The cosine is accurate to a few units of 2**-53.
        cosine = math.cos(math.pi * (size - 1) / (2 * points)) - 2.0**-48
        factor = divide_up(1.0, cosine) if size > 1 else 1.0
        inverse_cosines = multiply_up(inverse_cosines, factor, factor)
    excess = add_up(largest, -lower)
    return add_up(lower, multiply_up(excess, inverse_cosines))


def num_grid_points(window: Sequence[int], slack: float) -> int:
    """Returns the number of frequencies per axis for a relative `slack`.

    Args:
        window: Integers. Spatial shape of the kernel.
        slack: Float. Targeted relative excess of the norm bound by
            `frequency_grid_bound`, for `lower=0`. The target is missed if it
            needs too many frequencies.
    """
    # 1 / cos(x) is about 1 + x**2 / 2.
    degrees = [size - 1 for size in window if size > 1]
    points = math.pi / 2 * math.hypot(*degrees) / math.sqrt(2 * slack)
    affordable = math.pow(_MAX_FREQUENCIES, 1 / max(1, len(degrees)))
    fewest = 2 * max(degrees, default=1)
    return max(fewest, math.ceil(min(points, affordable)))


def bound_on_grid(
    grams: FrequencyGrams,
    grid: Sequence[npt.NDArray[Any]],
    points: npt.NDArray[Any],
    enough: float = math.inf,
) -> float:
    """Bounds the eigenvalues on a grid of frequencies from above.

    Args:
        grams: The matrices.
        grid: An integer array for each axis: multiples of `2 pi / points`. With
            each frequency the grid contains its opposite.
        points: Integer array of shape `(axes,)`.
        enough: Float. A bound that is at least this large need not be finished.
            Defaults to `inf`.

    Returns:
        Float. The largest bound over all groups.
    """
    found = 0.0
    for part in grams.in_chunks(one_of_each_pair(grid, points), points):
        guess = max(found, _guess_largest(part))
        found = max(found, largest_eigenvalue_bound(part, guess))
        if found >= enough:
            break
    return add_up(found, grams.error)


_POWER_STEPS = 20


def _guess_largest(grams: npt.NDArray[Any]) -> float:
    """Guesses the largest eigenvalue. The proof is sound for any guess."""
    flat = grams.reshape(-1, *grams.shape[-2:])
    vectors = np.ones((*flat.shape[:-1], 1), flat.dtype)
    vectors += np.random.default_rng(0).random(vectors.shape)
    norms = np.ones((len(flat), 1, 1))
    for _ in range(_POWER_STEPS):
        vectors = flat @ (vectors / norms)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-100
    likely = flat[np.argsort(-norms[:, 0, 0])[:4]]
    try:
        largest = float(np.max(np.linalg.eigvalsh(likely)))
    except np.linalg.LinAlgError:
        return 0.0
    # The factorization needs all eigenvalues below the guess.
    return largest * (1 + 64 * flat.shape[-1] * UNIT_ROUNDOFF)
