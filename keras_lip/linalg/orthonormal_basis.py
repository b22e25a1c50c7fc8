"""Orthonormal basis of the space that the columns of a matrix span."""

from keras import ops

from keras_lip.linalg.matrices import transpose
from keras_lip.linalg.rescaling import scale_to_one
from keras_lip.types import Tensor

# Fraction of the largest diagonal entry of the Gram matrix that is added to the
# diagonal.
_RIDGE = 1e-6


def orthonormal_basis(matrix: Tensor) -> Tensor:
    """Orthogonalizes columns by a Cholesky factor of their Gram matrix, twice.

    Args:
        matrix: Tensor of shape `(..., rows, columns)` with `rows >= columns`.

    Returns:
        Tensor of the same shape. It has the left singular vectors of `matrix`,
        with singular values of at most one: a singular value above a thousandth
        of the largest becomes one up to 1e-6, and a singular value of zero
        stays zero.
    """
    matrix = scale_to_one(matrix, axis=(-2, -1))
    return _orthogonalize(_orthogonalize(matrix))


def _orthogonalize(matrix: Tensor) -> Tensor:
    columns = matrix.shape[-1]
    gram = ops.matmul(transpose(matrix), matrix)
    diagonal = ops.diagonal(gram, axis1=-2, axis2=-1)
    largest = ops.stop_gradient(ops.amax(diagonal, axis=-1))
    ridge = _RIDGE * ops.maximum(largest, 1e-6)[..., None, None]
    identity = ops.eye(columns, dtype=matrix.dtype)
    factor = ops.cholesky(gram + ridge * identity)
    # Solves X L^T = W as L X^T = W^T.
    image = ops.solve_triangular(factor, transpose(matrix), lower=True)
    return transpose(image)
