"""Almost-orthogonal rescaling: a diagonal that makes any matrix 1-Lipschitz."""

from keras import ops

from keras_lip.linalg.scale_to_one import scale_to_one
from keras_lip.linalg.transpose import transpose
from keras_lip.types import Tensor


def rescale_columns(matrix: Tensor, epsilon: float = 1e-12) -> Tensor:
    """Rescales each column so that the spectral norm is at most one.

    Column `i` of the matrix `W` is divided by `sqrt(sum_j |W^T W|_ij)`. A
    matrix with orthonormal columns stays as it is.

    Args:
        matrix: Tensor of shape `(..., rows, columns)`.
        epsilon: Float. Keeps a zero column, and its gradient, finite. Defaults
            to `1e-12`.

    Returns:
        Tensor of the same shape, of spectral norm at most one.

    Reference:

    - [Prach & Lampert, 2022](https://arxiv.org/abs/2208.03160), Theorem 1.
    """
    matrix = scale_to_one(matrix, axis=(-2, -1))
    gram = ops.matmul(transpose(matrix), matrix)
    column_scale = ops.rsqrt(ops.sum(ops.abs(gram), axis=-1) + epsilon)
    return ops.multiply(matrix, ops.expand_dims(column_scale, axis=-2))
