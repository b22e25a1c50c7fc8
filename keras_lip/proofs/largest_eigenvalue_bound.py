"""Proven upper bound on the largest eigenvalue of Gram matrices."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_lip.proofs.rounding import UNIT_ROUNDOFF
from keras_lip.proofs.rounding import add_up
from keras_lip.proofs.rounding import frobenius_norm_up
from keras_lip.proofs.rounding import multiply_up
from keras_lip.proofs.rounding import product_error_up


def largest_eigenvalue_bound(
    grams: npt.NDArray[Any], guess: float = 0.0
) -> float:
    """Bounds the largest eigenvalue of Gram matrices, from above.

    A Cholesky factor `L` of `shift * I - gram` proves that no eigenvalue
    exceeds `shift` by more than the residual `shift * I - gram - L L^H`. The
    residual is computed and its rounding errors are bounded, so that neither
    the factorization nor the guess of the shift has to be trusted.

    Args:
        grams: Float64 or complex128 array of shape `(..., n, n)`. Hermitian,
            up to rounding, and positive semidefinite, with entries scaled to
            the order of one.
        guess: Float. Guess of the largest eigenvalue of all, that may save
            computing it. A guess from above costs tightness, a guess from
            below only time.

    Returns:
        Float. `x^H gram x <= bound * |x|^2` for every matrix and every `x`,
        where the left-hand side stands for its real part. `inf` if the
        factorization fails.

    Reference:

    - [Rump, 2006](https://doi.org/10.1007/s10543-006-0056-1), for the idea of
      verifying definiteness by a factorization in floating point.
    """
    if guess > 0:
        bound = _bound_by_shifting(grams, guess)
        if math.isfinite(bound):
            return bound
    try:
        estimate = float(np.max(np.linalg.eigvalsh(grams)))
    except np.linalg.LinAlgError:
        return math.inf
    # The factorization needs `shift * I - gram` definite by about `n u shift`.
    for margin in (32, 32**2, 32**3):
        inflation = 1 + margin * grams.shape[-1] * UNIT_ROUNDOFF
        bound = _bound_by_shifting(grams, estimate * inflation)
        if math.isfinite(bound):
            return bound
    return math.inf


# A wrong shift or factor may overflow: the bound is then infinite.
@np.errstate(over="ignore", invalid="ignore")
def _bound_by_shifting(grams: npt.NDArray[Any], shift: float) -> float:
    size = grams.shape[-1]
    shifted = -grams
    diagonal = np.einsum("...ii->...i", shifted)  # A view.
    diagonal += shift
    try:
        factor = np.linalg.cholesky(shifted)
    except np.linalg.LinAlgError:
        return math.inf
    factor_norm = frobenius_norm_up(factor)
    shift_error = _rounding_error_up(diagonal[..., None])
    shifted -= factor @ np.swapaxes(factor, -2, -1).conj()
    # shift * I - gram = L L^H + residual, and L L^H has no negative eigenvalue.
    return add_up(
        shift,
        frobenius_norm_up(shifted),
        _rounding_error_up(shifted),
        shift_error,
        product_error_up(
            factor_norm, factor_norm, size, np.iscomplexobj(grams)
        ),
    )


def _rounding_error_up(results: npt.NDArray[Any]) -> float:
    # An addition is off by at most `u` times its result.
    return multiply_up(UNIT_ROUNDOFF, frobenius_norm_up(results))
