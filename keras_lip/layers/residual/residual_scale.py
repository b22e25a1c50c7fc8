"""Helpers of linear residual layers."""

from typing import Any

import keras
import numpy as np

from keras_lip.validation import check_number

_LARGEST = float(np.finfo("float32").max)


def check_scale(scale: Any, name: str = "scale") -> float:
    """Checks that the factor of a residual is in the range of float32."""
    return check_number(name, scale, -_LARGEST, _LARGEST)


def small_initializer(initializer: Any) -> Any:
    """Returns the initializer, or for `None` one of small values."""
    if initializer is not None:
        return initializer
    return keras.initializers.VarianceScaling(0.01)
