"""Terms of losses for each sample: hinges and gaps between means."""

from keras import ops

from keras_lip.replicas import sum_over_replicas
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


def gap_between_means(
    members: Tensor,
    scores: Tensor,
    weights: Tensor,
    synchronized: bool = False,
) -> Tensor:
    """Returns the contribution of each sample to the gaps between class means.

    The gap of a class is the weighted mean of its score over the samples of the
    class, minus the weighted mean over the other samples. It is 0 if the class
    contains none or all of the samples. In that case one mean is undefined.
    Replacing that mean by 0 would reward shifting all scores together, which a
    gap must not depend on.

    The contributions are scaled so that their weighted mean is the mean gap.
    All classes have the same weight, for any number of samples.

    On several replicas, the means of the contributions of equal parts of a
    batch average to the mean of the gaps of the parts. If `synchronized`, they
    average to the gap of the whole batch, because the numbers of samples are
    those of all replicas. Gradients need no synchronization: the numbers do not
    depend on scores.

    Args:
        members: Tensor of shape `(batch, classes)`: 1 if the sample is in the
            class, otherwise 0.
        scores: Tensor of shape `(batch, classes)`.
        weights: Tensor of shape `(batch, 1)`.
        synchronized: Boolean. Whether to count the samples of all replicas.
            Defaults to `False`.

    Returns:
        Tensor of shape `(batch,)`.
    """
    inside = ops.sum(weights * members, axis=0)
    outside = ops.sum(weights * (1.0 - members), axis=0)
    if synchronized:
        counts = sum_over_replicas(ops.stack([inside, outside]))
        inside, outside = counts[0], counts[1]
    comparable = ops.logical_and(inside > 0, outside > 0)
    total = ops.where(comparable, inside + outside, 0.0)
    # If a count is zero, so is `total`: this avoids 0/0 in values and
    # gradients.
    inside = ops.where(comparable, inside, 1.0)
    outside = ops.where(comparable, outside, 1.0)
    shares = total * (members / inside - (1.0 - members) / outside)
    return ops.mean(shares * scores, axis=-1)
