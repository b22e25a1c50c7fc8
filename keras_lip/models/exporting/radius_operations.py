"""Operations that all runtimes compute in the same way, including NaN.

Runtimes differ in comparisons, selections and `argmax` of NaN: converters write
a selection as products and sums, and a compiled comparison with NaN may be
true. The functions here therefore find NaN and infinity with
`keras.ops.isfinite`, which all runtimes implement alike. Constants are rounded
up.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lip.types import Array
from keras_lip.types import Tensor

# Smaller values are zero on runtimes that flush subnormal numbers.
SMALLEST = 2.0**-100

LARGEST = float(np.float32(3e38))

# Exceeds the relative error of a formula with a few operations and no
# cancellation, in float32, with divisions that are off by one or two units in
# the last place.
SHRINK = 1 - 2.0**-20


def float32_up(values: Any) -> Array:
    """Rounds non-negative float64 numbers up to float32.

    Args:
        values: Float or array.

    Returns:
        Float32 array of entries of at least `SMALLEST`, and `inf` for NaN and
        values that are too large.
    """
    values = np.asarray(values, dtype="float64")
    values = np.where(np.isnan(values), np.inf, np.maximum(values, SMALLEST))
    with np.errstate(over="ignore"):
        rounded = values.astype("float32")
    above = np.nextafter(rounded, np.float32(np.inf))
    return np.where(rounded < values, above, rounded)


def find_label(logits: Tensor) -> Tensor:
    """Returns the first class with the largest logit, as int32."""
    classes = logits.shape[-1]
    top = ops.max(logits, axis=-1, keepdims=True)
    indices = np.arange(classes, dtype="float32")
    first = ops.min(
        ops.where(ops.greater_equal(logits, top), indices, float(classes)),
        axis=-1,
    )
    # No logit is the largest if one is NaN.
    return ops.cast(ops.minimum(first, float(classes - 1)), "int32")


def softplus(x: Tensor) -> Tensor:
    """Returns `log(1 + exp(x))`, up to `2^-23` and the rounding of a sum.

    `keras.ops.softplus` is not used: one converter writes it as that formula,
    whose exponential overflows for large `x`, and another converter has no
    `log1p`.
    """
    small = ops.log(ops.add(ops.exp(ops.negative(ops.abs(x))), 1.0))
    return ops.add(ops.relu(x), small)


def vector_norm(x: Tensor) -> Tensor:
    """Returns the l2 norms along the last axis, as `(..., 1)`."""
    return ops.sqrt(ops.sum(ops.square(x), axis=-1, keepdims=True))


def norm_slack(size: int) -> float:
    """Bounds the relative rounding error of a norm of `size` numbers.

    The sum of squares is rounded at most `size` times, in any order, and the
    square root halves the relative error. The remainder covers the few
    operations that follow.
    """
    return float((1 - 2.0**-24) ** -(size + 64))


def norm_floor(size: int) -> float:
    """Bounds the underflow error of a norm of `size` numbers."""
    return float(np.sqrt(size) * 2.0**-60)


def are_finite(*tensors: Tensor) -> Tensor:
    """Returns which samples are finite in all tensors of shape `(batch, n)`."""
    sums = [ops.sum(ops.abs(tensor), axis=-1) for tensor in tensors]
    return ops.isfinite(sum(sums[1:], start=sums[0]))


def least_radius(radii: Tensor, hot: Tensor) -> Tensor:
    """Returns the smallest of the radii `(batch, classes)` over other classes.

    Args:
        radii: Tensor, not negative.
        hot: Tensor of that shape, one at the label and zero elsewhere.
    """
    radii = ops.add(radii, ops.multiply(hot, LARGEST))
    return ops.minimum(ops.min(radii, axis=-1), LARGEST)


def finish_radius(radii: Tensor, finite: Tensor) -> Tensor:
    """Rounds radii down, and sets unknown radii to zero."""
    radii = ops.multiply(radii, float(np.float32(SHRINK)))
    known = ops.logical_and(finite, ops.greater(radii, SMALLEST))
    # With this constant, converters do not turn the selection into products and
    # sums.
    return ops.relu(ops.where(known, radii, -np.inf))


def lookup_rows(table: Array, labels: Tensor) -> Tensor:
    """Returns the row of each label of a table of upper bounds.

    If all entries are equal, the result is a single number.

    Args:
        table: Float64 array of shape `(classes, size)`.
        labels: Int32 tensor of shape `(batch,)`.

    Returns:
        Float32 tensor of shape `(batch, size)`, or a float.
    """
    rounded = float32_up(table)
    if np.all(rounded == rounded.flat[0]):
        return float(rounded.flat[0])
    layer: Any = keras.layers.Embedding(*table.shape, dtype="float32")
    rows = layer(labels)
    layer.set_weights([rounded])
    return rows
