"""Labels of classifiers, brought to one form."""

from keras import ops

from keras_lip.types import Tensor


def to_one_hot(y_true: Tensor, classes: int) -> Tensor:
    """Encodes labels as one-hot rows, also where nothing can be raised.

    Args:
        y_true: Tensor of class indices of shape `(batch_size,)` or
            `(batch_size, 1)`, or of one-hot rows of shape
            `(batch_size, classes)`. With one output the labels are 0 and 1, or
            -1 and 1.
        classes: Positive integer. Number of outputs of the model.

    Returns:
        Float32 tensor of shape `(batch_size, classes)`, or `(batch_size, 2)`
        with one output. A label that is no class has a row of zeros.

    Raises:
        ValueError: If the labels have another shape.
    """
    shape = tuple(y_true.shape)
    y_true = ops.cast(y_true, "float32")
    if len(shape) == 2 and shape[-1] == classes > 1:
        ones = ops.equal(y_true, 1)
        binary = ops.all(ops.logical_or(ones, ops.equal(y_true, 0)), axis=-1)
        ones = ops.cast(ones, "float32")
        single = ops.equal(ops.sum(ones, axis=-1), 1)
        known = ops.expand_dims(ops.logical_and(binary, single), axis=-1)
        return ops.where(known, ones, 0.0)
    if len(shape) == 1 or (len(shape) == 2 and shape[-1] == 1):
        column = ops.reshape(y_true, (-1, 1))
        if classes == 1:
            negative = ops.logical_or(ops.equal(column, 0), column == -1)
            hits = ops.concatenate([negative, ops.equal(column, 1)], axis=-1)
        else:
            hits = ops.equal(column, ops.arange(classes, dtype="float32"))
        return ops.cast(hits, "float32")
    columns = f" or `(batch_size, {classes})`" if classes > 1 else ""
    raise ValueError(
        "Labels must have shape `(batch_size,)`, `(batch_size, 1)`"
        f"{columns}. Received: y_true of shape {shape}"
    )
