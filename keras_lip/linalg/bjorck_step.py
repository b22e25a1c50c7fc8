"""A step of Björck's iteration, in few operations.

This is one of the few files that branch on the backend.
"""

from keras import ops

from keras_lip.linalg.matrices import transpose
from keras_lip.traces import is_eager_torch
from keras_lip.types import Tensor


def bjorck_step(matrix: Tensor) -> Tensor:
    """Computes `1.5 W - 0.5 W W^T W`.

    Each singular value `s` becomes `(3 s - s^3) / 2`. Compilers join the
    products with the sum. Eager PyTorch has one operation for both: matrices
    are often so small that most of the time is spent between operations.

    Args:
        matrix: Tensor of shape `(..., rows, columns)`, the `W`.

    Returns:
        Tensor of the same shape.
    """
    if not is_eager_torch(matrix) or matrix.ndim not in (2, 3):
        gram = ops.matmul(transpose(matrix), matrix)
        return 1.5 * matrix - 0.5 * ops.matmul(matrix, gram)
    import torch

    add_product = torch.addmm if matrix.ndim == 2 else torch.baddbmm
    gram = torch.matmul(matrix.mT, matrix)
    return add_product(matrix, matrix, gram, beta=1.5, alpha=-0.5)
