"""Checks the training data of a model before the first step."""

import math
from typing import Any

import keras
import numpy as np

from keras_lip.labels import are_numbers
from keras_lip.labels import wrong_dtype
from keras_lip.losses.base_loss import BaseLoss
from keras_lip.models.compile_arguments import pair_with_outputs
from keras_lip.types import Array

# Number of rows that are checked together, to avoid a copy of the data.
_ROWS = 8192


def check_training_data(model: keras.Model, x: Any, y: Any) -> None:
    """Raises an error for inputs that are not finite and invalid labels.

    Arrays are checked completely. Data sets, which contain their own labels,
    are checked by `LossGuard`.

    Args:
        model: A compiled model.
        x: Inputs, as in `fit`.
        y: Labels, as in `fit`.

    Raises:
        ValueError: If an input is not finite, labels are missing, or a label is
            not valid for the loss of its output.
    """
    if has_own_loss(model) and (x is None or (y is None and _is_array(x))):
        missing = "x" if x is None else "y"
        raise ValueError(
            f"`{missing}` must be given: the model's loss needs inputs and "
            f"labels. Received: {missing}=None"
        )
    for name, inputs in _name_arrays("x", x):
        _check_finite(name, inputs)
    check_labels(model, y)


def check_labels(model: keras.Model, y: Any) -> None:
    """Raises an error for invalid labels, as `check_training_data` does."""
    if not has_own_loss(model):
        return
    labels, widths = pair_with_outputs(model, y), _find_widths(model)
    for index, found in pair_with_outputs(model, model.loss).items():
        own = [loss for loss in found if isinstance(loss, BaseLoss)]
        arrays = [
            _read(part) for part in labels.get(index, []) if _is_array(part)
        ]
        for array in arrays[: len(own)]:
            _check_labels(own, array, widths[index])


def has_own_loss(model: keras.Model) -> bool:
    """Whether a compiled model has a loss of this library."""
    losses = keras.tree.flatten(getattr(model, "loss", None))
    return any(isinstance(loss, BaseLoss) for loss in losses)


class LossGuard(keras.callbacks.Callback):
    """Stops training if the loss of the first step is NaN.

    A compiled step cannot raise an error, so an invalid label makes its loss
    NaN.
    """

    def __init__(self) -> None:
        super().__init__()
        self._is_done = False

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self._is_done or not logs or "loss" not in logs:
            return
        self._is_done = True
        if math.isnan(float(logs["loss"])):
            raise ValueError(
                "The loss of the first step is NaN. Labels must be class "
                "indices or one-hot rows (for a single output 0 and 1, or -1 "
                "and 1), and inputs must be finite. Received: a data set with "
                "invalid labels or inputs. To find them, compute the loss of a "
                "batch: `model.loss(labels, model(inputs))`."
            )


def add_loss_guard(callbacks: Any) -> Any:
    """Returns callbacks with a `LossGuard` before them."""
    if isinstance(callbacks, keras.callbacks.CallbackList):
        guard = LossGuard()
        guard.set_model(callbacks.model)
        callbacks.callbacks.insert(0, guard)
        return callbacks
    listed = [] if callbacks is None else keras.tree.flatten(callbacks)
    return [LossGuard(), *listed]


def _name_arrays(name: str, data: Any) -> list[tuple[str, Array]]:
    """Returns the arrays in an argument of `fit`, with their names."""
    if data is None:
        return []
    if isinstance(data, dict):
        parts = [(f"{name}[{key!r}]", data[key]) for key in sorted(data)]
    elif isinstance(data, list | tuple):
        parts = [(f"{name}[{i}]", part) for i, part in enumerate(data)]
    else:
        parts = [(name, data)]
    return [(each, _read(part)) for each, part in parts if _is_array(part)]


def _is_array(data: Any) -> bool:
    return hasattr(data, "__array__")


def _read(data: Any) -> Array:
    return np.asarray(keras.ops.convert_to_numpy(data))


def _check_finite(name: str, inputs: Array) -> None:
    if inputs.dtype.kind != "f":
        return
    for start in range(0, len(inputs) if inputs.ndim else 0, _ROWS):
        part = inputs[start : start + _ROWS]
        finite = np.isfinite(part).all(axis=tuple(range(1, part.ndim)))
        if not finite.all():
            index = start + int(np.argmin(finite))
            raise ValueError(
                "Training inputs must be finite. Received: NaN or infinity in "
                f"{name}[{index}]. Remove the sample, or replace the missing "
                "values."
            )


def _find_widths(model: keras.Model) -> list[int | None]:
    """Returns the width of each output, or `None` where it is unknown."""
    outputs = model.outputs if isinstance(model, keras.Function) else []
    if isinstance(model, keras.Sequential):
        outputs = model.outputs if model.built else []
    widths = [out.shape[1] if len(out.shape) == 2 else None for out in outputs]
    return widths or [None]


def _check_labels(
    losses: list[BaseLoss], labels: Array, width: int | None
) -> None:
    if not are_numbers(labels):
        raise ValueError(wrong_dtype(labels, "y"))
    if width is None or not labels.ndim:
        return
    if labels.ndim == 1 or labels.shape[1:] == (1,):
        # Most labels are repeated.
        labels = np.unique(labels)
    for start in range(0, len(labels), _ROWS):
        part = labels[start : start + _ROWS]
        for loss in losses:
            loss.encode(part, keras.KerasTensor((len(part), width)))
