"""Combines weights and mask of a batch to one weight for each sample."""

from typing import Any

import keras
from keras import ops

from keras_lip.types import Tensor


def copy_sample_weight(sample_weight: Any, y_pred: Tensor) -> Tensor:
    """Checks weights, and copies them to a tensor of shape `(batch,)`.

    On PyTorch, Keras multiplies weights by masks in place. It also divides a
    mean by the sum of the weights, which would be wrong for a single number.

    Args:
        sample_weight: A number, or weights of shape `(batch,)` or `(batch, 1)`.
        y_pred: Tensor of shape `(batch,)` or `(batch, classes)`.

    Raises:
        ValueError: If the weights have the wrong shape.
    """
    sample_weight = ops.convert_to_tensor(sample_weight)
    shape, batch = tuple(sample_weight.shape), y_pred.shape[0]
    fits = not shape or shape[0] in (1, batch) or None in (shape[0], batch)
    if len(shape) > 2 or shape[1:] not in ((), (1,)) or not fits:
        raise ValueError(
            "`sample_weight` must be a number or have shape (batch,) or "
            f"(batch, 1). Received: sample_weight.shape={shape}, "
            f"y_pred.shape={tuple(y_pred.shape)}"
        )
    ones = _ones(ops.convert_to_tensor(y_pred))
    dtype = keras.backend.result_type(ones.dtype, sample_weight.dtype)
    return ops.cast(ones, dtype) * ops.reshape(
        ops.cast(sample_weight, dtype), (-1,)
    )


def read_sample_weights(
    sample_weight: Tensor | None, y_pred: Tensor, dtype: str
) -> Tensor:
    """Returns the weights of samples, zero where a mask excludes them.

    Args:
        sample_weight: The result of `copy_sample_weight`, or `None`.
        y_pred: Tensor of shape `(batch,)` or `(batch, classes)`. Keras attaches
            masks to it.
        dtype: String. Dtype of the result.

    Returns:
        Tensor of shape `(batch,)`.
    """
    loss = _SampleWeights(name="sample_weights", reduction="none", dtype=dtype)
    return loss(y_pred, y_pred, sample_weight)


class _SampleWeights(keras.losses.Loss):
    """Loss of one for each sample. Weighted by Keras, it is the weights."""

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return _ones(y_pred)


def _ones(y_pred: Tensor) -> Tensor:
    return ops.ones_like(y_pred if len(y_pred.shape) == 1 else y_pred[:, 0])
