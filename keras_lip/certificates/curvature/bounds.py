"""Proven bounds on how fast the slope of a margin of a head can fall."""

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
    """Bounds the downward curvature of margins, at little cost.

    Args:
        weights: Array `a` of shape `(..., hidden_units)`. The outer weights of
            margins `a^T softplus(W^T x + b) + c`, off by one rounding.
        kernel_norm: Float. Upper bound of the spectral norm of `W`.
        unit_norms: Array of shape `(hidden_units,)`. Upper bounds of the norms
            of the columns of `W`.

    Returns:
        Array of shape `(...)`. `K` such that `-K` times the identity is below
        all Hessians of the margin: the smaller one of `|W|^2 max a^- / 4` and
        `sum a^- |w|^2 / 4`, where `a^-` are the negative weights' sizes.
    """
    negative = np.maximum(-weights, 0.0)
    slack = 1 + 4 * gamma(weights.shape[-1] + 8)
    joint = np.max(negative, axis=-1) * (kernel_norm * kernel_norm)
    apart = negative @ np.square(unit_norms)
    # The larger slope of a sigmoid is 1 / 4.
    return np.minimum(joint, apart) / 4 * slack + UNDERFLOW


def curvature_bound(weights: Array, kernel: Array) -> float:
    """Bounds the downward curvature of one margin.

    Args:
        weights: Array `a` of shape `(hidden_units,)`. The outer weights of a
            margin `a^T softplus(W^T x + b) + c`, off by one rounding.
        kernel: Array `W` of shape `(input_dim, hidden_units)`.

    Returns:
        Float. `K` such that `-K` times the identity is below all Hessians: the
        largest eigenvalue of `W diag(a^-) W^T / 4`, rounded up.

    Reference:

    - [Singla & Feizi, 2020](https://proceedings.mlr.press/v119/singla20a.html)
    """
    roots = np.sqrt(np.maximum(-weights, 0.0))
    norm = spectral_norm_bound(kernel * roots)
    # The entries are off by less than four roundings, and thus the matrix by so
    # much of its Frobenius norm, which is at most so many times the norm.
    slack = add_up(1.0, gamma(8 * min(kernel.shape)))
    norm = add_up(multiply_up(norm, slack), UNDERFLOW)
    return multiply_up(0.25, norm, norm)
