"""The certified radius of each sample, negative where the answer is wrong."""

from keras import ops

from keras_lip.labels import to_class_rows
from keras_lip.types import Tensor

# What an infinite radius counts as. Sums of a hundred million samples stay
# finite, so that no mean is `inf` or `inf - inf`.
LARGEST_RADIUS = 1e30

_LARGEST_FLOAT = 3.4028234e38


def signed_radii(y_true: Tensor, y_pred: Tensor, pair_bounds: Tensor) -> Tensor:
    """Returns the radius within which each prediction is constant, signed.

    With `y` the predicted class, the radius is the least
    `(f_y - f_j) / bound_yj` over all other classes `j`, or `|f| / L` for a
    single output. It is zero where logits tie or are not finite, and
    `LARGEST_RADIUS` where it would be larger: where all bounds are zero.

    Args:
        y_true: Tensor of labels.
        y_pred: Float32 tensor of logits of shape `(batch_size, classes)`.
        pair_bounds: Tensor that broadcasts to `(classes, classes)`.

    Returns:
        Tensor of shape `(batch_size,)`: the radius if the prediction is that of
        the label, else minus the radius.

    Raises:
        ValueError: If labels or logits have another shape.
    """
    labels = to_class_rows(y_true, y_pred.shape[-1])
    if y_pred.shape[-1] == 1:
        # Two classes whose margin is the one output.
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
    """Returns one value of each row: its extreme, also where no row is.

    Keras has no extremes of empty batches.
    """
    indices = ops.expand_dims(indices, axis=-1)
    return ops.take_along_axis(values, indices, axis=-1)


def _divide(margins: Tensor, bounds: Tensor) -> Tensor:
    constant = ops.equal(bounds, 0)
    # Finite logits may be further apart than the largest number.
    margins = ops.minimum(margins, _LARGEST_FLOAT)
    radii = margins / ops.where(constant, 1.0, bounds)
    radii = ops.where(constant, LARGEST_RADIUS, radii)
    # A class that ties is at no distance, whatever its bound, and what is no
    # number certifies nothing.
    positive = ops.logical_and(margins > 0, radii > 0)
    return ops.where(positive, ops.minimum(radii, LARGEST_RADIUS), 0.0)
