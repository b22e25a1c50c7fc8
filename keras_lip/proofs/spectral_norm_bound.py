"""Proven upper bound on the largest singular value of matrices."""

import math

import numpy as np
import numpy.typing as npt

from keras_lip.proofs.largest_eigenvalue_bound import largest_eigenvalue_bound
from keras_lip.proofs.methods import note_method
from keras_lip.proofs.rounding import add_up
from keras_lip.proofs.rounding import frobenius_norm_up
from keras_lip.proofs.rounding import multiply_up
from keras_lip.proofs.rounding import product_error_up
from keras_lip.proofs.rounding import scale_to_unit
from keras_lip.proofs.rounding import sqrt_up


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
