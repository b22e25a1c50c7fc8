"""Transposes and linear systems of real matrices."""

from keras import ops

from keras_lip.types import Tensor

# Matrices up to this side are inverted as a whole.
_BLOCK = 64


def transpose(matrix: Tensor) -> Tensor:
    """Swaps the last two axes.

    Args:
        matrix: Tensor of shape `(..., rows, columns)`.

    Returns:
        Tensor of shape `(..., columns, rows)`.
    """
    return ops.swapaxes(matrix, -2, -1)


def accretive_solve(right: Tensor, matrix: Tensor) -> Tensor:
    """Solves `Z M = R` for `M = I + A + P` with skew-symmetric `A`, `P >= 0`.

    The matrix is inverted by blocks with matrix products, which are fast on all
    devices. No pivoting is needed: the symmetric parts of the Schur complements
    are also at least `I`, so the norms of all inverses are at most one. A step
    of iterative refinement follows. The result has `float32` accuracy if the
    norm of `M` is below a few hundred.

    Args:
        right: Tensor of shape `(samples, n)`, the `R`.
        matrix: Tensor of shape `(n, n)`, the `M`.

    Returns:
        Tensor of shape `(samples, n)`.
    """
    inverse = ops.stop_gradient(_invert(ops.stop_gradient(matrix)))
    start = ops.stop_gradient(ops.matmul(right, inverse))
    # This is linear in `R` and `M`, and has the gradients of `R M^{-1}`.
    residual = right - ops.matmul(start, matrix)
    return start + ops.matmul(residual, inverse)


def _invert(matrix: Tensor) -> Tensor:
    size = matrix.shape[-1]
    if size <= _BLOCK:
        return ops.inv(matrix)
    half = size // 2
    head, right = matrix[:half, :half], matrix[:half, half:]
    left, tail = matrix[half:, :half], matrix[half:, half:]
    head = _invert(head)
    left = ops.matmul(left, head)
    tail = _invert(tail - ops.matmul(left, right))
    left = ops.matmul(tail, left)
    right = ops.matmul(head, right)
    top = [head + ops.matmul(right, left), -ops.matmul(right, tail)]
    bottom = [-left, tail]
    rows = [ops.concatenate(row, axis=1) for row in (top, bottom)]
    return ops.concatenate(rows, axis=0)
