"""What linear residual layers share."""

from typing import Any

import keras
import numpy as np

from keras_lip.validation import check_number

_LARGEST = float(np.finfo("float32").max)


def check_scale(scale: Any, name: str = "scale") -> float:
    """Returns the factor of a residual, which is a float32 number."""
    return check_number(name, scale, -_LARGEST, _LARGEST)


def small_initializer(initializer: Any) -> Any:
    """Returns an initializer, or for `None` one that starts near zero."""
    if initializer is not None:
        return initializer
    return keras.initializers.VarianceScaling(0.01)
