"""Reversal of several axes."""

from collections.abc import Iterable

from keras import ops

from keras_lip.types import Tensor


def flip(x: Tensor, axes: Iterable[int]) -> Tensor:
    """Reverses the order of the entries along each of the axes.

    `keras.ops.flip` accepts several axes on TensorFlow only in newer versions
    than Keras 3.12.

    Args:
        x: Tensor.
        axes: Integers, counted from either end.

    Returns:
        Tensor of the shape of `x`.
    """
    for axis in axes:
        x = ops.flip(x, axis=axis)
    return x
