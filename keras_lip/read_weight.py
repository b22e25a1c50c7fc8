"""Reads weights and kernels as float64 arrays on the host."""

from typing import Any

from keras import ops

from keras_lip.types import Array


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
    return ops.convert_to_numpy(weight).astype("float64")
