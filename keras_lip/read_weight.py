"""Weights as they run, brought to float64 on the host."""

from typing import Any

import numpy as np
from keras import ops

from keras_lip.types import Array


def read_kernel(layer: Any, kernel: Any) -> Array:
    """Returns a kernel as it runs, rounded to the layer's compute dtype."""
    kernel = ops.convert_to_tensor(kernel)
    return read_weight(ops.cast(kernel, layer.compute_dtype))


def read_number(layer: Any, number: Any) -> Array:
    """Returns the magnitudes of constants, exact and as they may be rounded.

    A layer rounds its constants to its compute dtype, and with TensorFlow some
    to float32 before that.
    """
    exact = np.asarray(number, dtype="float64").reshape(-1)
    with np.errstate(over="ignore"):
        single = exact.astype("float32")
    rounded = read_kernel(layer, single)
    return np.abs(np.concatenate([exact, single, rounded]))


def read_weight(weight: Any) -> Array:
    """Returns a weight as float64, without rounding it."""
    weight = ops.convert_to_tensor(weight)
    # NumPy knows no bfloat16; float32 holds every narrower number exactly.
    if "float64" not in str(weight.dtype):
        weight = ops.cast(weight, "float32")
    return ops.convert_to_numpy(weight).astype("float64")
