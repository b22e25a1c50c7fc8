"""Distances between the columns of a matrix."""

from keras import ops

from keras_lip.types import Tensor


def pair_distances(kernel: Tensor, norm: str = "l2") -> Tensor:
    """Returns the distances between all pairs of columns, in the dual norm.

    Args:
        kernel: Tensor of shape `(rows, columns)`.
        norm: `"l2"`, for l2 distances, or `"linf"`, for l1 distances. Defaults
            to `"l2"`.

    Returns:
        Tensor of shape `(columns, columns)`, zero on the diagonal. For the l2
        norm, the gradient of the distance between equal columns is zero.
    """
    if norm == "linf":
        differences = kernel[:, :, None] - kernel[:, None, :]
        return ops.sum(ops.abs(differences), axis=0)
    squares = ops.sum(ops.square(kernel), axis=0)
    products = ops.matmul(ops.transpose(kernel), kernel)
    distances = squares[:, None] + squares[None, :] - 2.0 * products
    apart = 1.0 - ops.eye(kernel.shape[1], dtype=kernel.dtype)
    return ops.sqrt(ops.maximum(distances, 1e-12)) * apart
