"""The least and greatest value of an entry of an input."""

import numpy as np

from keras_lip.types import Array
from keras_lip.validation import check_numbers

Bounds = tuple[float, float]


def check_bounds(bounds: Bounds) -> Bounds:
    """Returns bounds as floats.

    Args:
        bounds: Least and greatest value of an entry of an input.

    Raises:
        ValueError: If they are not two numbers, the lesser one first.
    """
    try:
        low, high = check_numbers("bounds", bounds)
    except (TypeError, ValueError):
        low, high = 1.0, 0.0
    if low > high:
        raise ValueError(
            "`bounds` must be the least and the greatest value of an entry of "
            f"an input, such as `(0, 1)`. Received: bounds={bounds!r}"
        )
    return low, high


def check_inside(inputs: Array, bounds: Bounds) -> None:
    """Refuses inputs that are out of bounds.

    Args:
        inputs: Array.
        bounds: Least and greatest value of an entry.

    Raises:
        ValueError: If an entry is out of bounds.
    """
    if np.min(inputs) < bounds[0] or np.max(inputs) > bounds[1]:
        raise ValueError(
            f"Inputs must lie within `bounds`. Received: bounds={bounds}, "
            f"inputs from {np.min(inputs)} to {np.max(inputs)}"
        )
