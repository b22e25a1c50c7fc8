"""Hinge functions, sample by sample."""

from keras import ops

from keras_lip.types import Tensor


def binary_hinge(signs: Tensor, scores: Tensor, margin: float) -> Tensor:
    """Computes `max(0, margin - sign * score)` for each sample.

    Args:
        signs: Tensor of shape `(batch, 1)`, of -1 and 1.
        scores: Tensor of shape `(batch, 1)`.
        margin: Float.

    Returns:
        Tensor of shape `(batch,)`.
    """
    return ops.sum(ops.relu(margin - signs * scores), axis=-1)


def multiclass_hinge(one_hot: Tensor, scores: Tensor, margin: float) -> Tensor:
    """Sums `max(0, margin - (score_t - score_i))` over the classes `i != t`.

    Args:
        one_hot: Tensor of shape `(batch, classes)`, with 1 in column `t`.
        scores: Tensor of shape `(batch, classes)`.
        margin: Float.

    Returns:
        Tensor of shape `(batch,)`.
    """
    own = ops.sum(one_hot * scores, axis=-1, keepdims=True)
    hinges = ops.relu(margin - (own - scores))
    return ops.sum((1.0 - one_hot) * hinges, axis=-1)
