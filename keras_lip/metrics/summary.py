"""A few numbers by which the outputs of a model are told from others."""

import keras
import numpy as np
from keras import ops

from keras_lip.types import Array
from keras_lip.types import Tensor

# Of the weights of the sums.
_FREQUENCIES = (1.0, 1.7, 2.9, 4.3)

# How far the sums of equal outputs may be apart, relative to the first one.
_ROUNDING = 1e-5

SIZE = 1 + len(_FREQUENCIES)


def summarize(outputs: Tensor) -> Tensor:
    """Summarizes outputs.

    Args:
        outputs: Float tensor of shape `(batch_size, classes)`.

    Returns:
        Float32 tensor of shape `(SIZE,)`: the sum of the logarithms of one plus
        all absolute values, and sums with their signs and other weights for
        each entry. Infinities and NaN count as zero.
    """
    outputs = ops.cast(ops.stop_gradient(outputs), "float32")
    outputs = ops.where(ops.isfinite(outputs), outputs, 0.0)
    outputs = ops.sign(outputs) * ops.log1p(ops.abs(outputs))
    rows, columns = (
        ops.cast(ops.arange(size), "float32") for size in ops.shape(outputs)
    )
    angles = ops.expand_dims(rows, 1) + 2.0 * columns
    sums = [ops.sum(ops.cos(k * angles) * outputs) for k in _FREQUENCIES]
    return ops.stack([ops.sum(ops.abs(outputs)), *sums])


def are_equal(one: Array, other: Array, unit: float = 0.0) -> bool:
    """Whether two summaries are of equal outputs.

    Args:
        one: A summary.
        other: Another one.
        unit: Float. Unit roundoff of the outputs, if it may be added to one of
            the two: JAX leaves out roundings to 16 bits.
    """
    scale = max(one[0], other[0], keras.config.epsilon())
    # The logarithm's relative errors are no larger than those of the outputs.
    allowed = (_ROUNDING + 2 * unit) * scale
    return bool(np.all(np.abs(one - other) <= allowed))
