"""Labels, checked and brought to one form."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lip.types import Shape
from keras_lip.types import Tensor


def to_signs(y_true: Any, y_pred: Tensor) -> Tensor:
    """Encodes binary labels as signs.

    Args:
        y_true: Labels 0 and 1, or -1 and 1, of shape `(batch,)` or
            `(batch, 1)`.
        y_pred: Tensor of scores of shape `(batch,)` or `(batch, 1)`.

    Returns:
        Tensor of shape `(batch, 1)`: 1 for positive labels, else -1. It is NaN
        for other labels where no error can be raised: in a compiled step.

    Raises:
        ValueError: If the shapes of `y_true` and `y_pred` do not match, or if a
            label is unknown.
    """
    labels = _to_numbers(y_true)
    shapes = [tuple(labels.shape), tuple(y_pred.shape)]
    columns = all(len(s) == 1 or (len(s) == 2 and s[1] == 1) for s in shapes)
    if not columns or not _same_batch(*shapes):
        raise ValueError(
            "Binary labels and scores must have shape (batch,) or (batch, 1), "
            "with the same batch. For several classes use a multiclass loss, "
            f"for several labels `MultilabelHKR`. {_received(*shapes)}"
        )
    return _read_signs(ops.reshape(labels, (-1, 1)))


def to_sign_rows(y_true: Any, y_pred: Tensor) -> Tensor:
    """Encodes rows of binary labels as signs, as `to_signs` does one column."""
    labels = _to_numbers(y_true)
    shape, scores_shape = tuple(labels.shape), tuple(y_pred.shape)
    if (
        not (len(shape) == len(scores_shape) == 2)
        or shape[1] != scores_shape[1]
        or not _same_batch(shape, scores_shape)
    ):
        raise ValueError(
            "Rows of binary labels and scores must have the same shape (batch, "
            "labels). For one class out of several use a multiclass loss. "
            f"{_received(shape, scores_shape)}"
        )
    return _read_signs(labels)


def _read_signs(labels: Tensor) -> Tensor:
    """Encodes labels of shape `(batch, columns)` as signs, or marks rows."""
    negative, absent = ops.equal(labels, -1), ops.equal(labels, 0)
    # Many data sets mark an unknown label by the third number, which would be
    # trained as a negative one.
    mixed = ops.logical_and(ops.any(negative), ops.any(absent))
    either = ops.logical_or(negative, absent)
    known = ops.where(mixed, ops.logical_not(either), either)
    known = ops.logical_or(known, ops.equal(labels, 1))
    known = ops.all(known, axis=-1, keepdims=True)
    signs = ops.where(labels > 0, 1.0, -1.0)
    expected = "be 0 and 1, or -1 and 1, and not a mixture of 0 and -1"
    return _refuse_unknown(signs, known, labels, expected)


def to_one_hot(y_true: Any, y_pred: Tensor) -> Tensor:
    """Encodes class indices as one-hot rows, and lets one-hot rows pass.

    Args:
        y_true: Indices of shape `(batch,)` or `(batch, 1)`, or one-hot rows of
            shape `(batch, classes)`.
        y_pred: Tensor of scores of shape `(batch, classes)`.

    Returns:
        Tensor of shape `(batch, classes)`. The row of a label that is no class
        is NaN where no error can be raised: in a compiled step.

    Raises:
        ValueError: If the shapes of `y_true` and `y_pred` do not match, or if a
            label is no class.
    """
    labels = _to_numbers(y_true)
    if len(labels.shape) != 2 or labels.shape[1] == 1:
        return indices_to_one_hot(labels, y_pred)
    _check_rows(labels, y_pred)
    ones, zeros = ops.equal(labels, 1), ops.equal(labels, 0)
    single = ops.equal(ops.sum(ops.cast(ones, "int32"), axis=-1), 1)
    known = ops.all(ops.logical_or(ones, zeros), axis=-1)
    known = ops.expand_dims(ops.logical_and(known, single), axis=-1)
    expected = "hold a single 1 in each row, and 0 elsewhere"
    return _refuse_unknown(labels, known, labels, expected)


def indices_to_one_hot(y_true: Any, y_pred: Tensor) -> Tensor:
    """Encodes class indices as one-hot rows, as `to_one_hot` does."""
    labels = _to_numbers(y_true)
    shape, scores_shape = tuple(labels.shape), tuple(y_pred.shape)
    column = len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)
    if not (column and _has_classes(scores_shape)) or not _same_batch(
        shape, scores_shape
    ):
        raise ValueError(
            "Class indices must have shape (batch,) or (batch, 1), and scores "
            "shape (batch, classes) with the same batch and two classes or "
            f"more. {_received(shape, scores_shape)}"
        )
    classes = scores_shape[1]
    labels = ops.reshape(labels, (-1, 1))
    # Equal to no index, a label out of range has an empty row.
    hits = ops.equal(labels, ops.arange(classes, dtype="float32"))
    known = ops.any(hits, axis=-1, keepdims=True)
    expected = f"be integers from 0 to {classes - 1}"
    return _refuse_unknown(ops.cast(hits, "float32"), known, labels, expected)


def to_distribution(y_true: Any, y_pred: Tensor) -> Tensor:
    """Lets rows of class probabilities pass, as `to_one_hot` does one-hot."""
    labels = _to_numbers(y_true)
    _check_rows(labels, y_pred)
    # Probabilities smoothed in bfloat16 miss a sum of one by up to 2^-8.
    error = ops.abs(ops.sum(labels, axis=-1, keepdims=True) - 1.0)
    positive = ops.all(labels >= 0, axis=-1, keepdims=True)
    known = ops.logical_and(positive, error < 1e-2)
    expected = "be probabilities that sum to 1 in each row"
    return _refuse_unknown(labels, known, labels, expected)


def _to_numbers(y_true: Any) -> Tensor:
    if isinstance(y_true, np.ndarray) or not hasattr(y_true, "shape"):
        y_true = np.asarray(y_true)
        if y_true.dtype.kind not in "biuf":
            raise TypeError(
                "Labels must be numbers. Make indices of the names of classes, "
                "such as by `numpy.unique(names, return_inverse=True)`. "
                f"Received: y_true of dtype {y_true.dtype}"
            )
    return ops.convert_to_tensor(y_true, dtype="float32")


def _check_rows(labels: Tensor, y_pred: Tensor) -> None:
    shape, scores_shape = tuple(labels.shape), tuple(y_pred.shape)
    if not (_has_classes(scores_shape) and shape[1:] == scores_shape[1:]) or (
        not _same_batch(shape, scores_shape)
    ):
        raise ValueError(
            "Rows of labels and scores must have the same shape (batch, "
            f"classes), with two classes or more. "
            f"{_received(shape, scores_shape)}"
        )


def _refuse_unknown(
    encoded: Tensor, known: Tensor, labels: Tensor, expected: str
) -> Tensor:
    """Raises if a row of labels is unknown, or marks it where it cannot."""
    values = _read(known)
    if values is not None and not values.all():
        wrong = ops.convert_to_numpy(labels)[~values[:, 0]]
        raise ValueError(
            f"Labels must {expected}. Received: y_true={_list_rows(wrong)}, "
            f"among the {len(wrong)} wrong ones of a batch of {len(values)}"
        )
    return ops.where(known, encoded, float("nan"))


def _list_rows(rows: Any) -> str:
    """Writes down three of the rows, cut: a thousand classes fill a screen."""
    written = (
        np.array2string(
            row,
            max_line_width=1000,
            separator=", ",
            threshold=10,
            formatter={"float_kind": lambda value: str(round(float(value), 6))},
        )
        for row in rows
    )
    return f"[{', '.join(list(dict.fromkeys(written))[:3])}]"


def _read(tensor: Tensor) -> Any:
    """Returns the values of a tensor, or `None` where a step is traced."""
    if keras.backend.backend() == "torch":
        import torch

        # Nothing fails here, but the graph being compiled would be cut in two.
        if torch.compiler.is_compiling():
            return None
    try:
        return np.asarray(ops.convert_to_numpy(tensor))
    except (TypeError, ValueError, RuntimeError):
        # In turn: a tracer of JAX, a `KerasTensor`, and a symbolic tensor of
        # TensorFlow or a tensor of PyTorch without storage.
        return None


def _same_batch(shape: Shape, other: Shape) -> bool:
    return shape[0] == other[0] or None in (shape[0], other[0])


def _has_classes(shape: Shape) -> bool:
    return len(shape) == 2 and shape[1] is not None and shape[1] > 1


def _received(shape: Shape, scores_shape: Shape) -> str:
    return f"Received: y_true.shape={shape}, y_pred.shape={scores_shape}"
