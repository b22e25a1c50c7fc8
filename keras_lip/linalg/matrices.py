"""Real matrices: their transposes, and linear systems."""

from keras import ops

from keras_lip.types import Tensor

# The side up to which a matrix is inverted as a whole.
_BLOCK = 64


def transpose(matrix: Tensor) -> Tensor:
    """Swaps the last two axes and leaves batch axes alone.

    Args:
        matrix: Tensor of shape `(..., rows, columns)`.

    Returns:
        Tensor of shape `(..., columns, rows)`.
    """
    return ops.swapaxes(matrix, -2, -1)


def accretive_solve(right: Tensor, matrix: Tensor) -> Tensor:
    """Solves `Z M = R` for `M = I + A + P`, skew-symmetric `A`, `P >= 0`.

    The matrix is inverted by blocks, in products of matrices, which all devices
    are good at. Pivots are not needed: the Schur complements have a symmetric
    part of at least `I` as well, so that no inverse is larger than one. A step
    of iterative refinement follows. The error is that of `float32` while the
    norm of `M` is below some hundreds.

    Args:
        right: Tensor of shape `(samples, n)`, the `R`.
        matrix: Tensor of shape `(n, n)`, the `M`.

    Returns:
        Tensor of shape `(samples, n)`.
    """
    inverse = ops.stop_gradient(_invert(ops.stop_gradient(matrix)))
    start = ops.stop_gradient(ops.matmul(right, inverse))
    # Linear in `R` and `M`, with the gradients of `R M^{-1}`.
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
