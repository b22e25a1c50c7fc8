"""The certified radius of each sample, negative if it is misclassified."""

from keras import ops

from keras_lip.labels import to_class_rows
from keras_lip.types import Tensor

# Replaces infinite radii. Sums over a hundred million samples stay finite, so
# that no mean is `inf` or NaN.
LARGEST_RADIUS = 1e30

_LARGEST_FLOAT = 3.4028234e38


def signed_radii(y_true: Tensor, y_pred: Tensor, pair_bounds: Tensor) -> Tensor:
    """Returns the signed radius within which each prediction is constant.

    Let `y` be the predicted class. The radius is the minimum of `(f_y - f_j) /
    bound_yj` over all other classes `j`, or `|f| / L` for a single output. It
    is zero where logits tie or are not finite, and at most `LARGEST_RADIUS`,
    for instance if all bounds are zero.

    Args:
        y_true: Tensor of labels.
        y_pred: Float32 tensor of logits of shape `(batch_size, classes)`.
        pair_bounds: Tensor that broadcasts to `(classes, classes)`.

    Returns:
        Tensor of shape `(batch_size,)`: the radius if the prediction is
        correct, otherwise minus the radius.

    Raises:
        ValueError: If labels or logits have the wrong shape.
    """
    labels = to_class_rows(y_true, y_pred.shape[-1])
    if y_pred.shape[-1] == 1:
        # Two classes whose margin is the single output.
        y_pred = ops.concatenate([-0.5 * y_pred, 0.5 * y_pred], axis=-1)
    classes = y_pred.shape[-1]
    prediction = ops.argmax(y_pred, axis=-1)
    predicted = ops.equal(ops.expand_dims(prediction, -1), ops.arange(classes))
    margins = _pick(y_pred, prediction) - y_pred
    bounds = ops.broadcast_to(pair_bounds, (classes, classes))
    radii = _divide(margins, ops.take(bounds, prediction, axis=0))
    radii = ops.where(predicted, LARGEST_RADIUS, radii)
    radii = ops.squeeze(_pick(radii, ops.argmin(radii, axis=-1)), axis=-1)
    finite = ops.all(ops.isfinite(y_pred), axis=-1)
    radii = ops.where(finite, radii, 0.0)
    correct = ops.any(ops.logical_and(predicted, labels > 0), axis=-1)
    return ops.where(correct, radii, -radii)


def _pick(values: Tensor, indices: Tensor) -> Tensor:
    """Returns one value of each row, also for an empty batch.

    Keras's `max` and `min` fail for empty batches.
    """
    indices = ops.expand_dims(indices, axis=-1)
    return ops.take_along_axis(values, indices, axis=-1)


def _divide(margins: Tensor, bounds: Tensor) -> Tensor:
    constant = ops.equal(bounds, 0)
    # The difference of finite logits may overflow.
    margins = ops.minimum(margins, _LARGEST_FLOAT)
    radii = margins / ops.where(constant, 1.0, bounds)
    radii = ops.where(constant, LARGEST_RADIUS, radii)
    # The radius is zero for a tie, even if its bound is zero, and for NaN.
    positive = ops.logical_and(margins > 0, radii > 0)
    return ops.where(positive, ops.minimum(radii, LARGEST_RADIUS), 0.0)
