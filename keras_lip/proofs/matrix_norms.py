"""Proven upper bounds on the norms of matrices."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_lip.proofs.method_notes import note_method
from keras_lip.proofs.rounding import UNIT_ROUNDOFF
from keras_lip.proofs.rounding import add_up
from keras_lip.proofs.rounding import frobenius_norm_up
from keras_lip.proofs.rounding import inflate_up
from keras_lip.proofs.rounding import multiply_up
from keras_lip.proofs.rounding import product_error_up
from keras_lip.proofs.rounding import scale_to_unit
from keras_lip.proofs.rounding import sqrt_up


def row_sum_bound(
    kernel: npt.ArrayLike, axes: int | Sequence[int] = 0
) -> float:
    """Bounds the operator norm of a linear map in the l-infinity norm.

    That is the largest sum, over the outputs, of the magnitudes of what an
    output weighs its inputs by. Padding with zeros leaves some of them out, and
    circular padding none.

    Args:
        kernel: Real array, converted to float64.
        axes: Integer, or several. The axes of the inputs of one output: `0` for
            the kernel of a dense layer of shape `(inputs, outputs)`, all but
            the last for that of a convolution.

    Returns:
        Float. The bound, rounded up; `inf` if an entry is not finite.

    Example:

    >>> 7.0 <= row_sum_bound([[3.0, 1.0], [-4.0, 0.0]]) < 7.0 + 1e-13
    True
    """
    note_method("sums of magnitudes")
    kernel = np.asarray(kernel).astype(np.float64)
    if not np.all(np.isfinite(kernel)):
        return math.inf
    axes = (axes,) if isinstance(axes, int) else tuple(axes)
    terms = math.prod(kernel.shape[axis] for axis in axes)
    with np.errstate(over="ignore"):
        sums = np.sum(np.abs(kernel), axis=axes)
    return inflate_up(float(np.max(sums, initial=0.0)), terms)


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


def spectral_norm_bound(matrix: npt.ArrayLike) -> float:
    """Bounds the largest singular value of matrices, from above.

    The bound is a theorem about the numbers that are passed, rounding errors
    included. It exceeds the singular value by at most about
    `rows * columns * 1e-16` of it.

    Args:
        matrix: Real or complex array of shape `(..., rows, columns)`,
            converted to double precision.

    Returns:
        Float. The bound, the largest of the batch. `inf` if an entry is not
        finite, and zero if there is none.

    Example:

    >>> 5.0 <= spectral_norm_bound([[3.0, 0.0], [4.0, 0.0]]) < 5.0 + 1e-13
    True
    """
    note_method("singular values")
    matrix = np.asarray(matrix)
    if matrix.ndim < 2:
        raise ValueError(
            "`matrix` must have at least two dimensions. "
            f"Received: matrix.shape={matrix.shape}"
        )
    is_complex = np.iscomplexobj(matrix)
    matrix = matrix.astype(np.complex128 if is_complex else np.float64)
    if not np.all(np.isfinite(matrix)):
        return math.inf
    if not np.any(matrix):
        return 0.0
    # Powers of two keep the products within range and cost nothing.
    matrix, scale = scale_to_unit(matrix)
    # The Gram matrix of the smaller side, of the same singular values.
    if matrix.shape[-2] < matrix.shape[-1]:
        matrix = np.swapaxes(matrix, -2, -1)
    norm = frobenius_norm_up(matrix)
    gram = np.swapaxes(matrix, -2, -1).conj() @ matrix
    gram_error = product_error_up(norm, norm, matrix.shape[-2], is_complex)
    eigenvalue = add_up(largest_eigenvalue_bound(gram), gram_error)
    return multiply_up(scale, min(norm, sqrt_up(eigenvalue)))
