"""Validates labels and converts them to a common form.

The rules are functions of an array and a module: `keras.ops` for losses and
metrics, or NumPy for certificates. They return which rows of labels are valid,
and a description of valid labels.

For an invalid label, losses raise an error, or set its row to NaN in a compiled
step, where they cannot raise. Metrics never raise an error: an invalid label
has a row of zeros and is never correct. Certificates always raise an error.
Losses and metrics see one batch at a time, and can tell a mixture of labels 0
and -1 only within it.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lip.types import Array
from keras_lip.types import Shape
from keras_lip.types import Tensor

# A mask of shape `(batch, 1)`, and a description of valid labels.
_Rule = tuple[Any, str]

_SIGNS = "be 0 and 1, or -1 and 1, and not a mixture of 0 and -1"


def to_signs(y_true: Any, y_pred: Tensor) -> Tensor:
    """Encodes binary labels as signs.

    Args:
        y_true: Labels 0 and 1, or -1 and 1, of shape `(batch,)` or
            `(batch, 1)`.
        y_pred: Tensor of scores of shape `(batch,)` or `(batch, 1)`.

    Returns:
        Tensor of shape `(batch, 1)`: 1 for positive labels, -1 for negative
        labels. In a compiled step, which cannot raise an error, it is NaN for
        other labels.

    Raises:
        ValueError: If the shapes of `y_true` and `y_pred` do not match, or a
            label is invalid.
    """
    labels = _to_numbers(y_true)
    shapes = [tuple(labels.shape), tuple(y_pred.shape)]
    if not all(map(_is_column, shapes)) or not _same_batch(*shapes):
        raise ValueError(
            "Binary labels and scores must have shape (batch,) or (batch, 1), "
            "with the same batch. For several classes use a multiclass loss, "
            f"for several labels `MultilabelHKR`. {_received(*shapes)}"
        )
    return _read_signs(ops.reshape(labels, (-1, 1)))


def to_sign_rows(y_true: Any, y_pred: Tensor) -> Tensor:
    """Encodes rows of binary labels as signs, like `to_signs`."""
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


def to_one_hot(y_true: Any, y_pred: Tensor) -> Tensor:
    """Encodes class indices as one-hot rows. One-hot rows are kept.

    Args:
        y_true: Indices of shape `(batch,)` or `(batch, 1)`, or one-hot rows of
            shape `(batch, classes)`.
        y_pred: Tensor of scores of shape `(batch, classes)`.

    Returns:
        Tensor of shape `(batch, classes)`. In a compiled step, which cannot
        raise an error, the row of an invalid label is NaN.

    Raises:
        ValueError: If the shapes of `y_true` and `y_pred` do not match, or a
            label is not a class.
    """
    labels = _to_numbers(y_true)
    if len(labels.shape) != 2 or labels.shape[1] == 1:
        return indices_to_one_hot(labels, y_pred)
    _check_rows(labels, y_pred)
    return _refuse_unknown(labels, labels, _known_one_hot(labels, ops))


def indices_to_one_hot(y_true: Any, y_pred: Tensor) -> Tensor:
    """Encodes class indices as one-hot rows, as `to_one_hot` does."""
    labels = _to_numbers(y_true)
    shape, scores_shape = tuple(labels.shape), tuple(y_pred.shape)
    if not (
        _is_column(shape) and _has_classes(scores_shape)
    ) or not _same_batch(shape, scores_shape):
        raise ValueError(
            "Class indices must have shape (batch,) or (batch, 1), and scores "
            "shape (batch, classes) with the same batch and two classes or "
            f"more. {_received(shape, scores_shape)}"
        )
    classes = scores_shape[1]
    labels = ops.reshape(labels, (-1, 1))
    hits = ops.cast(_hit_indices(labels, classes), "float32")
    return _refuse_unknown(hits, labels, _known_indices(labels, classes, ops))


def to_distribution(y_true: Any, y_pred: Tensor) -> Tensor:
    """Validates rows of class probabilities, like `to_one_hot`."""
    labels = _to_numbers(y_true)
    _check_rows(labels, y_pred)
    return _refuse_unknown(labels, labels, _known_distribution(labels, ops))


def to_class_rows(y_true: Tensor, classes: int) -> Tensor:
    """Encodes labels of a classifier as rows, without raising for labels.

    Args:
        y_true: Tensor of class indices of shape `(batch_size,)` or
            `(batch_size, 1)`, or of one-hot rows of shape
            `(batch_size, classes)`. With one output the labels are 0 and 1, or
            -1 and 1.
        classes: Positive integer. Number of outputs of the model.

    Returns:
        Float32 tensor of shape `(batch_size, classes)`, or `(batch_size, 2)`
        with one output. The row of an invalid label is zero.

    Raises:
        ValueError: If the labels have the wrong shape.
    """
    _check_form(tuple(y_true.shape), classes)
    labels = ops.cast(y_true, "float32")
    if len(labels.shape) == 1:
        labels = ops.reshape(labels, (-1, 1))
    if classes == 1:
        known, _ = _known_signs(labels, ops)
        rows = ops.concatenate([labels <= 0, labels > 0], axis=-1)
    elif labels.shape[1] == 1:
        known, _ = _known_indices(labels, classes, ops)
        rows = _hit_indices(labels, classes)
    else:
        known, _ = _known_one_hot(labels, ops)
        rows = ops.equal(labels, 1)
    return ops.cast(ops.logical_and(rows, known), "float32")


def to_sparse_labels(labels: Array, classes: int, name: str = "y") -> Array:
    """Returns integer labels of a classifier.

    Args:
        labels: Array of shape `(num_samples,)` or `(num_samples, 1)` of class
            indices, or of shape `(num_samples, classes)`, one-hot. With one
            output the labels are 0 and 1, or -1 and 1.
        classes: Number of outputs of the model.
        name: Name of the argument, for the error message. Defaults to `"y"`.

    Returns:
        Integer array of shape `(num_samples,)`.

    Raises:
        ValueError: If the labels are not numbers, have the wrong shape or are
            out of range.
    """
    if not are_numbers(labels):
        raise ValueError(wrong_dtype(labels, name))
    _check_form(labels.shape, classes, name)
    if labels.ndim == 1:
        labels = labels[:, None]
    if classes == 1:
        rule = _known_signs(labels, np)
        indices = labels[:, 0] > 0
    elif labels.shape[1] == 1:
        rule = _known_indices(labels, classes, np)
        indices = labels[:, 0]
    else:
        rule = _known_one_hot(labels, np)
        indices = np.argmax(labels, axis=1)
    _check_known(labels, rule, name)
    return indices.astype("int64")


class LabelReader:
    """Reads the labels of a data set batch by batch, as `to_sparse_labels`.

    Whether labels are valid does not depend on how they are divided: labels 0
    in one batch and -1 in another one are a mixture.

    Args:
        classes: Number of outputs of the model.
        y: Array of all labels, of which batches or shards are read, or `None`
            if it is unknown. Defaults to `None`.
        name: Name of the argument, for the error message. Defaults to `"y"`.
    """

    def __init__(self, classes: int, y: Any = None, name: str = "y") -> None:
        self._classes, self._name = classes, name
        self._negatives: set[float] = set()
        if y is not None and classes == 1:
            self._note(np.asarray(ops.convert_to_numpy(y)))

    def __call__(self, labels: Array) -> Array:
        """Returns integer labels of shape `(num_samples,)`.

        Raises:
            ValueError: As `to_sparse_labels`, and if there are labels 0 and -1
                in all batches together.
        """
        found = to_sparse_labels(labels, self._classes, self._name)
        if self._classes == 1:
            self._note(labels)
        return found

    def _note(self, labels: Array) -> None:
        self._negatives.update(
            value for value in (0.0, -1.0) if np.any(labels == value)
        )
        if len(self._negatives) > 1:
            raise ValueError(
                f"Labels must {_SIGNS}. Received: {self._name} with labels 0 "
                "and -1 in one data set"
            )


def are_numbers(labels: Array) -> bool:
    """Whether the labels of an array are booleans, integers or floats."""
    return labels.dtype.kind in "biuf"


def wrong_dtype(labels: Array, name: str = "y_true") -> str:
    """Returns the error for labels that are not numbers.

    Args:
        labels: Array of labels.
        name: Name of the argument. Defaults to `"y_true"`.
    """
    return (
        "Labels must be numbers: class indices, or one-hot rows. Convert class "
        "names to indices, for example with `np.unique(names, "
        f"return_inverse=True)`. Received: {name} of dtype {labels.dtype}, "
        f"such as {labels.ravel()[:1].tolist()}"
    )


def _known_signs(labels: Any, xp: Any) -> _Rule:
    """The rule for binary labels, of shape `(batch, columns)`."""
    negative, absent = xp.equal(labels, -1), xp.equal(labels, 0)
    # Many data sets mark missing labels with the third number, which would be
    # trained as a negative label.
    mixed = xp.logical_and(xp.any(negative), xp.any(absent))
    either = xp.logical_or(negative, absent)
    known = xp.where(mixed, xp.logical_not(either), either)
    known = xp.logical_or(known, xp.equal(labels, 1))
    return xp.all(known, axis=-1, keepdims=True), _SIGNS


def _known_indices(labels: Any, classes: int, xp: Any) -> _Rule:
    """The rule for class indices, of shape `(batch, 1)`."""
    inside = xp.logical_and(labels >= 0, labels < classes)
    whole = xp.equal(labels, xp.floor(labels))
    expected = f"be integers from 0 to {classes - 1}"
    return xp.logical_and(inside, whole), expected


def _known_one_hot(labels: Any, xp: Any) -> _Rule:
    """The rule for one-hot rows, of shape `(batch, classes)`."""
    ones, zeros = xp.equal(labels, 1), xp.equal(labels, 0)
    known = xp.all(xp.logical_or(ones, zeros), axis=-1, keepdims=True)
    # Float32 counts are exact up to 2^24 classes.
    count = xp.sum(xp.where(ones, 1.0, 0.0), axis=-1, keepdims=True)
    expected = "contain a single 1 in each row, and 0 elsewhere"
    return xp.logical_and(known, xp.equal(count, 1)), expected


def _known_distribution(labels: Any, xp: Any) -> _Rule:
    """The rule for rows of probabilities, of shape `(batch, classes)`."""
    # Sums of label-smoothed bfloat16 probabilities may differ from one by 2^-8.
    error = xp.abs(xp.sum(labels, axis=-1, keepdims=True) - 1.0)
    positive = xp.all(labels >= 0, axis=-1, keepdims=True)
    expected = "be probabilities that sum to 1 in each row"
    return xp.logical_and(positive, error < 1e-2), expected


def _read_signs(labels: Tensor) -> Tensor:
    """Encodes labels of shape `(batch, columns)` as signs."""
    signs = ops.where(labels > 0, 1.0, -1.0)
    return _refuse_unknown(signs, labels, _known_signs(labels, ops))


def _hit_indices(labels: Tensor, classes: int) -> Tensor:
    """Returns a boolean one-hot row for each index."""
    return ops.equal(labels, ops.arange(classes, dtype="float32"))


def _to_numbers(y_true: Any) -> Tensor:
    if isinstance(y_true, np.ndarray) or not hasattr(y_true, "shape"):
        y_true = np.asarray(y_true)
        if not are_numbers(y_true):
            raise TypeError(wrong_dtype(y_true))
    return ops.convert_to_tensor(y_true, dtype="float32")


def _check_form(shape: Shape, classes: int, name: str = "y_true") -> None:
    """Raises an error for labels of the wrong shape."""
    if _is_column(shape) or (len(shape) == 2 and shape[1] == classes > 1):
        return
    rows = f" or `(batch_size, {classes})`" if classes > 1 else ""
    raise ValueError(
        "Labels must have shape `(batch_size,)`, `(batch_size, 1)`"
        f"{rows}. Received: {name} of shape {tuple(shape)}"
    )


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


def _refuse_unknown(encoded: Tensor, labels: Tensor, rule: _Rule) -> Tensor:
    """Raises an error for invalid labels, or marks their rows with NaN."""
    known, expected = rule
    values = _read(known)
    if values is not None and not values.all():
        _check_known(ops.convert_to_numpy(labels), (values, expected))
    return ops.where(known, encoded, float("nan"))


def _check_known(labels: Array, rule: _Rule, name: str = "y_true") -> None:
    """Raises an error if a row of labels is invalid."""
    known, expected = rule
    if not known.all():
        wrong = labels[~known[:, 0]]
        raise ValueError(
            f"Labels must {expected}. Received: {name}={_list_rows(wrong)}, "
            f"among the {len(wrong)} wrong labels of a batch of {len(known)}"
        )


def _list_rows(rows: Any) -> str:
    """Returns three of the rows as text, shortened for many classes."""
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
    """Returns the values of a tensor, or `None` while a step is traced."""
    if keras.backend.backend() == "torch":
        import torch

        # Reading the values would not fail, but break the compiled graph in
        # two.
        if torch.compiler.is_compiling():
            return None
    try:
        return np.asarray(ops.convert_to_numpy(tensor))
    except (TypeError, ValueError, RuntimeError):
        # These are: a JAX tracer; a `KerasTensor`; a symbolic TensorFlow
        # tensor, or a PyTorch tensor without storage.
        return None


def _is_column(shape: Shape) -> bool:
    return len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)


def _same_batch(shape: Shape, other: Shape) -> bool:
    return shape[0] == other[0] or None in (shape[0], other[0])


def _has_classes(shape: Shape) -> bool:
    return len(shape) == 2 and shape[1] is not None and shape[1] > 1


def _received(shape: Shape, scores_shape: Shape) -> str:
    return f"Received: y_true.shape={shape}, y_pred.shape={scores_shape}"
