"""Orthonormal columns that span what the columns of a matrix span."""

from keras import ops

from keras_lip.linalg.matrices import transpose
from keras_lip.linalg.rescaling import scale_to_one
from keras_lip.types import Tensor

# Share of the largest diagonal entry of the Gram matrix that is added to its
# diagonal.
_RIDGE = 1e-6


def orthonormal_basis(matrix: Tensor) -> Tensor:
    """Orthogonalizes columns by a Cholesky factor of their Gram matrix, twice.

    Args:
        matrix: Tensor of shape `(..., rows, columns)`, with rows enough.

    Returns:
        Tensor of the same shape, with singular values of one at most: one up to
        1e-6 where those of the matrix are above a thousandth of the largest,
        and zero where they are.
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
    # X L^T = W is solved as L X^T = W^T.
    image = ops.solve_triangular(factor, transpose(matrix), lower=True)
    return transpose(image)
