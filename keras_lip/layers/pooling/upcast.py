"""Half precision, widened for sums and squares."""

import keras
from keras import ops

from keras_lip.types import Tensor


def upcast(inputs: Tensor) -> Tensor:
    """Returns the inputs in float32 if they are narrower.

    The square of 256 overflows float16.
    """
    dtype = keras.backend.standardize_dtype(inputs.dtype)
    half = dtype in ("float16", "bfloat16")
    return ops.cast(inputs, "float32") if half else inputs
