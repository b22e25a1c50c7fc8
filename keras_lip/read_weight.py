"""Reads weights and kernels as arrays on the host.

This is one of the few files that branch on the backend.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lip.types import Array
from keras_lip.types import Tensor


def read_kernel(layer: Any, kernel: Any) -> Array:
    """Returns a kernel, rounded to the layer's compute dtype."""
    kernel = ops.convert_to_tensor(kernel)
    return read_weight(ops.cast(kernel, layer.compute_dtype))


def read_weight(weight: Any) -> Array:
    """Returns a weight as float64, without rounding it."""
    weight = ops.convert_to_tensor(weight)
    # NumPy has no bfloat16. float32 represents all narrower numbers exactly.
    if "float64" not in str(weight.dtype):
        weight = ops.cast(weight, "float32")
    return view_tensor(weight).astype("float64")


def view_tensor(tensor: Tensor) -> Array:
    """Returns the numbers of a tensor, not copied if they are on the host.

    Args:
        tensor: Tensor or variable. The array must not be changed, and changes
            if the tensor does.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # Keras copies the numbers.
        array: Array = np.asarray(
            tf.convert_to_tensor(ops.convert_to_tensor(tensor))
        )
        return array
    return np.asarray(ops.convert_to_numpy(tensor))
