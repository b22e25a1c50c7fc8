"""Labels of classifiers, checked and brought to one form."""

import numpy as np

from keras_lip.types import Array


def to_sparse_labels(labels: Array, classes: int) -> Array:
    """Returns integer labels from sparse, one-hot or binary ones.

    Args:
        labels: Array of shape `(num_samples,)` or `(num_samples, 1)` of class
            indices, or of shape `(num_samples, classes)`, one-hot. With one
            output the labels are 0 and 1, or -1 and 1.
        classes: Number of outputs of the model.

    Returns:
        Integer array of shape `(num_samples,)`.

    Raises:
        ValueError: If the labels have another shape or are out of range.
    """
    if labels.ndim == 2 and labels.shape[1] == classes > 1:
        if not (np.isin(labels, (0, 1)).all() and (labels.sum(1) == 1).all()):
            raise ValueError(
                "One-hot labels must hold a single 1 in each row, and zeros."
            )
        return np.argmax(labels, axis=1)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise ValueError(
            f"Labels must have shape `(num_samples,)` or `(num_samples, "
            f"{classes})`. Received: shape {labels.shape}"
        )
    allowed = np.arange(classes) if classes > 1 else np.array([-1, 0, 1])
    if not np.isin(labels, allowed).all():
        wrong = labels[~np.isin(labels, allowed)][0]
        raise ValueError(
            f"Labels must be among {allowed.tolist()} for a model with "
            f"{classes} outputs. Received: a label of {wrong}"
        )
    return labels.astype("int64") if classes > 1 else (labels > 0).astype(int)
