"""Proven bounds on the downward curvature of a head's margins."""

import numpy as np

from keras_lip.proofs.matrix_norms import spectral_norm_bound
from keras_lip.proofs.rounding import UNDERFLOW
from keras_lip.proofs.rounding import add_up
from keras_lip.proofs.rounding import gamma
from keras_lip.proofs.rounding import multiply_up
from keras_lip.types import Array


def coarse_curvatures(
    weights: Array, kernel_norm: float, unit_norms: Array
) -> Array:
    """Bounds the downward curvature of margins cheaply.

    Args:
        weights: Array `a` of shape `(..., hidden_units)`. The outer weights of
            margins `a^T softplus(W^T x + b) + c`, off by one rounding.
        kernel_norm: Float. Upper bound on the spectral norm of `W`.
        unit_norms: Array of shape `(hidden_units,)`. Upper bounds on the norms
            of the columns of `W`.

    Returns:
        Array `K` of shape `(...)`. All Hessians of the margin are at least `-K`
        times the identity. `K` is the minimum of `|W|^2 max a^- / 4` and `sum
        a^- |w|^2 / 4`, where `a^- = max(-a, 0)`.
    """
    negative = np.maximum(-weights, 0.0)
    slack = 1 + 4 * gamma(weights.shape[-1] + 8)
    joint = np.max(negative, axis=-1) * (kernel_norm * kernel_norm)
    apart = negative @ np.square(unit_norms)
    # The largest slope of a sigmoid is 1 / 4.
    return np.minimum(joint, apart) / 4 * slack + UNDERFLOW


def curvature_bound(weights: Array, kernel: Array) -> float:
    """Bounds the downward curvature of one margin.

    Args:
        weights: Array `a` of shape `(hidden_units,)`. The outer weights of a
            margin `a^T softplus(W^T x + b) + c`, off by one rounding.
        kernel: Array `W` of shape `(input_dim, hidden_units)`.

    Returns:
        Float `K`. All Hessians are at least `-K` times the identity. `K` is the
        largest eigenvalue of `W diag(a^-) W^T / 4`, rounded up.

    Reference:

    - [Singla & Feizi, 2020](https://proceedings.mlr.press/v119/singla20a.html)
    """
    roots = np.sqrt(np.maximum(-weights, 0.0))
    norm = spectral_norm_bound(kernel * roots)
    # Each entry has a relative error of less than four roundings, so the error
    # of the matrix is at most that fraction of its Frobenius norm, which is at
    # most `sqrt(n)` times its spectral norm.
    slack = add_up(1.0, gamma(8 * min(kernel.shape)))
    norm = add_up(multiply_up(norm, slack), UNDERFLOW)
    return multiply_up(0.25, norm, norm)
