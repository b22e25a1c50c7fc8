"""Arithmetic of non-negative arrays, rounded up.

Float64 rounds to nearest, so the next float above a result is above the exact
result, including underflow. NaN becomes `inf`, because it is not a bound.
"""

import numpy as np

from keras_lip.types import Array


def add(*terms: Array | float) -> Array:
    """Returns upper bounds on sums."""
    total = np.asarray(terms[0], dtype="float64")
    with np.errstate(over="ignore", invalid="ignore"):
        for term in terms[1:]:
            total = _up(total + term)
    return total


def multiply(*factors: Array | float) -> Array:
    """Returns upper bounds on products."""
    product = np.asarray(factors[0], dtype="float64")
    with np.errstate(over="ignore", invalid="ignore"):
        for factor in factors[1:]:
            product = _up(product * factor)
    return product


def hypot(*terms: Array) -> Array:
    """Returns upper bounds on elementwise Euclidean norms."""
    stacked = np.stack(np.broadcast_arrays(*terms), axis=-1)
    norms = sample_norms(stacked.reshape(-1, stacked.shape[-1]))
    return norms.reshape(stacked.shape[:-1])


def sample_norms(array: Array) -> Array:
    """Bounds the l2 norm of each sample.

    Args:
        array: Float64 array of shape `(num_samples, ...)`.

    Returns:
        Array of shape `(num_samples,)`.
    """
    flat = array.reshape(len(array), -1)
    with np.errstate(over="ignore", invalid="ignore"):
        largest = np.maximum(
            np.max(flat, axis=1, initial=0.0),
            -np.min(flat, axis=1, initial=0.0),
        )
        # Squares of moderate numbers do not overflow, and only negligible ones
        # underflow. Other numbers are first divided by the largest one.
        moderate = (largest > 2.0**-400) & (largest < 2.0**400)
        scale = np.where(moderate | (largest == 0), 1.0, largest)
        if not np.all(scale == 1):
            flat = flat / scale[:, None]
        roots = np.sqrt(np.einsum("ij,ij->i", flat, flat))
        # A sum of n squares of quotients has fewer than n + 4 rounding errors.
        slack = 1 + (flat.shape[1] + 16) * 2.0**-52
        return _up(_up(roots * scale) * slack)


def _up(array: Array) -> Array:
    return np.where(np.isnan(array), np.inf, np.nextafter(array, np.inf))
