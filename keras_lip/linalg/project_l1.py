"""Projection on the ball of the l1 norm."""

from keras import ops

from keras_lip.types import Tensor


def project_l1(matrix: Tensor) -> Tensor:
    """Projects the columns of a matrix on the unit ball of the l1 norm.

    A column inside of the ball stays as it is; of any other all magnitudes
    shrink by one threshold, to zero at most, such that they sum to one. This is
    the nearest point of the ball. What rounding leaves above one is divided
    away, so that the sum exceeds one by a few roundings at most.

    Args:
        matrix: Tensor of shape `(rows, columns)`.

    Returns:
        Tensor of the same shape.

    Reference:

    - [Duchi et al., 2008](https://doi.org/10.1145/1390156.1390191), figure 1;
      its threshold is the largest of `(m_1 + ... + m_k - 1) / k` over `k`, for
      magnitudes `m` in descending order.
    """
    magnitudes = ops.abs(matrix)
    # Counted from the largest, so that nothing is lost where that is huge.
    largest = ops.amax(magnitudes, axis=0, keepdims=True)
    lowered = magnitudes - largest
    descending = ops.flip(ops.sort(lowered, axis=0), 0)
    ranks = ops.arange(1, matrix.shape[0] + 1, dtype=matrix.dtype)[:, None]
    thresholds = (ops.cumsum(descending, axis=0) - 1.0) / ranks
    threshold = ops.amax(thresholds, axis=0, keepdims=True)
    shrunk = ops.relu(lowered - threshold) * ops.sign(matrix)
    inside = ops.less_equal(ops.sum(magnitudes, axis=0, keepdims=True), 1.0)
    projected = ops.where(inside, matrix, shrunk)
    total = ops.sum(ops.abs(projected), axis=0, keepdims=True)
    return projected / ops.stop_gradient(ops.maximum(total, 1.0))
