"""Operations that every runtime computes alike, not-a-number included.

Comparisons and selections of what is not a number differ between runtimes, and
so does an `argmax`: converters write a selection as products and sums, and
compiled comparisons may be true. What is not finite is therefore found by
`keras.ops.isfinite`, which all of them know. Constants are rounded up.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lip.types import Array
from keras_lip.types import Tensor

# Of what is smaller nothing is left where subnormal numbers are flushed.
SMALLEST = 2.0**-100

LARGEST = float(np.float32(3e38))

# More than what the few roundings of a formula without cancellation may add,
# in float32, with divisions that are off by a unit or two.
SHRINK = 1 - 2.0**-20


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


def find_label(logits: Tensor) -> Tensor:
    """Returns the first class of the largest logit, as int32."""
    classes = logits.shape[-1]
    top = ops.max(logits, axis=-1, keepdims=True)
    indices = np.arange(classes, dtype="float32")
    first = ops.min(
        ops.where(ops.greater_equal(logits, top), indices, float(classes)),
        axis=-1,
    )
    # None is the largest where one is not a number.
    return ops.cast(ops.minimum(first, float(classes - 1)), "int32")


def softplus(x: Tensor) -> Tensor:
    """Returns `log(1 + exp(x))`, up to `2^-23` and what a sum rounds.

    One of the converters writes Keras's own in just that way, where the
    exponential of what is large is infinite, and another has no `log1p`.
    """
    small = ops.log(ops.add(ops.exp(ops.negative(ops.abs(x))), 1.0))
    return ops.add(ops.relu(x), small)


def vector_norm(x: Tensor) -> Tensor:
    """Returns the l2 norms along the last axis, as `(..., 1)`."""
    return ops.sqrt(ops.sum(ops.square(x), axis=-1, keepdims=True))


def norm_slack(size: int) -> float:
    """Bounds what a norm of so many numbers may lose to rounding, as a factor.

    The sum of squares is rounded `size` times at most, in any order, and the
    root of it halves that; the rest is for the few operations that follow.
    """
    return float((1 - 2.0**-24) ** -(size + 64))


def norm_floor(size: int) -> float:
    """Bounds what a norm of so many numbers may lose to underflow."""
    return float(np.sqrt(size) * 2.0**-60)


def are_finite(*tensors: Tensor) -> Tensor:
    """Returns which samples are finite in all tensors of shape `(batch, n)`."""
    sums = [ops.sum(ops.abs(tensor), axis=-1) for tensor in tensors]
    return ops.isfinite(sum(sums[1:], start=sums[0]))


def least_radius(radii: Tensor, hot: Tensor) -> Tensor:
    """Returns the least of the radii `(batch, classes)` over other classes.

    Args:
        radii: Tensor, not negative.
        hot: Tensor of that shape, one at the label and zero elsewhere.
    """
    radii = ops.add(radii, ops.multiply(hot, LARGEST))
    return ops.minimum(ops.min(radii, axis=-1), LARGEST)


def finish_radius(radii: Tensor, finite: Tensor) -> Tensor:
    """Rounds radii down, and sets those to zero that are not known."""
    radii = ops.multiply(radii, float(np.float32(SHRINK)))
    known = ops.logical_and(finite, ops.greater(radii, SMALLEST))
    # With this constant converters do not write products and sums.
    return ops.relu(ops.where(known, radii, -np.inf))


def lookup_rows(table: Array, labels: Tensor) -> Tensor:
    """Returns the row of each label of a table of upper bounds.

    A table without differences is no table but a number.

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
