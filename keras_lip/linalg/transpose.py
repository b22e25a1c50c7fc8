"""Transposition of the last two axes."""

from keras import ops

from keras_lip.types import Tensor


def transpose(matrix: Tensor) -> Tensor:
    """Swaps the last two axes and leaves batch axes alone.

    Args:
        matrix: Tensor of shape `(..., rows, columns)`.

    Returns:
        Tensor of shape `(..., columns, rows)`.
    """
    return ops.swapaxes(matrix, -2, -1)
