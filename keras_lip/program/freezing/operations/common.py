"""Helpers of the readers of operations."""

import functools
import numbers
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_lip.graph import get_operation
from keras_lip.program.builder import Wire
from keras_lip.program.freezing.reading import round_constant
from keras_lip.read_weight import read_weight
from keras_lip.types import Array


@functools.cache
def _probe() -> Any:
    return keras.KerasTensor((None, 2, 2))


def classes_of(*functions: Callable[[Any], Any]) -> list[type]:
    """Returns classes of operations, because Keras does not export them."""
    return [type(get_operation(make(_probe()))) for make in functions]


def is_wire(value: Any) -> bool:
    """Whether a value is a tensor of the program, not a constant."""
    return isinstance(value, Wire)


def read_constant(
    layer: Any, value: Any, wire: Wire, smallest: bool = False
) -> Array:
    """Returns possibly rounded constants, if they fit the tensor."""
    try:
        numbers_ = (
            np.asarray(value, "float64")
            if isinstance(value, numbers.Real | np.ndarray | list | tuple)
            else read_weight(value)
        )
    except (TypeError, ValueError):
        numbers_ = np.array(np.nan)
    if isinstance(value, str) or not np.isfinite(numbers_).all():
        raise ValueError(
            f"Operation '{layer.name}' combines a tensor with {value!r} of "
            f"type `{type(value).__name__}`. Only finite numbers and arrays of "
            "finite numbers are supported. Use a layer for anything else."
        )
    return _fit(layer, round_constant(wire, numbers_, smallest), wire)


def _fit(layer: Any, values: Array, wire: Wire) -> Array:
    """Raises an error if constants enlarge samples, or differ between them."""
    if values.ndim == 0:
        return values
    shape = wire.shape
    fits = shape is not None
    if shape is not None:
        if values.ndim == len(shape) + 1 and values.shape[0] == 1:
            values = values[0]
        fits = values.ndim <= len(shape) and all(
            size in (1, axis)
            for size, axis in zip(
                values.shape, shape[len(shape) - values.ndim :], strict=True
            )
        )
    if not fits:
        raise ValueError(
            f"Operation '{layer.name}' must not broadcast its input to be "
            f"bounded. Received: input shape {(None, *(shape or ()))} and "
            f"constants of shape {values.shape}"
        )
    return values


def known_rank(layer: Any, wire: Wire) -> tuple[int | None, ...]:
    """Returns the shape of a sample, whose sizes may be unknown."""
    if wire.shape is None:
        raise ValueError(
            f"Operation '{layer.name}' needs an input of known shape."
        )
    return wire.shape


def known_sizes(layer: Any, wire: Wire) -> tuple[int, ...]:
    """Returns the shape of a sample. All sizes must be known."""
    shape = known_rank(layer, wire)
    if None in shape:
        raise ValueError(
            f"Operation '{layer.name}' has a bound only for inputs of known "
            f"shape. Received: input shape {(None, *shape)}"
        )
    return tuple(size or 0 for size in shape)


def refuse_samples(layer: Any, axis: Any) -> None:
    """Raises an error if an axis may be the batch axis."""
    if axis == 0 or axis is None:
        raise ValueError(
            f"Operation '{layer.name}' combines, moves or drops samples, so no "
            "bound for one sample is known."
        )


def counted_axis(layer: Any, axis: Any, wire: Wire) -> int:
    """Returns a non-negative axis, with the batch axis as axis 0."""
    refuse_samples(layer, axis)
    found = axis % (len(known_rank(layer, wire)) + 1)
    refuse_samples(layer, found)
    return int(found)


def not_understood(layer: Any, key: Any) -> ValueError:
    """Returns the error for an unsupported selection of entries."""
    return ValueError(
        f"Operation '{layer.name}' selects entries in an unsupported way. "
        f"Received: {key!r}"
    )
