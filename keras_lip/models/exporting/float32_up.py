"""Numbers in float32 that are no smaller than in float64."""

from typing import Any

import numpy as np

from keras_lip.types import Array

# Of what is smaller nothing is left where subnormal numbers are flushed.
SMALLEST = 2.0**-100


def float32_up(values: Any) -> Array:
    """Rounds non-negative float64 numbers up to float32.

    Args:
        values: Float or array.

    Returns:
        Float32 array, at least `SMALLEST` everywhere; `inf` for what is too
        large or not a number.
    """
    values = np.asarray(values, dtype="float64")
    values = np.where(np.isnan(values), np.inf, np.maximum(values, SMALLEST))
    with np.errstate(over="ignore"):
        rounded = values.astype("float32")
    above = np.nextafter(rounded, np.float32(np.inf))
    return np.where(rounded < values, above, rounded)
