"""The frequency response of the kernel of a two-dimensional convolution."""

import numpy as np
from keras import ops

from keras_lip.types import Array
from keras_lip.types import Tensor


def kernel_spectrum(
    kernel: Tensor, sides: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Computes what a circular convolution does at each frequency.

    Args:
        kernel: Tensor of shape `(height, width, channels, filters)`.
        sides: Pair of positive integers. Rows and columns of the images; a
            longer window meets their pixels more than once.

    Returns:
        Tuple of the real and the imaginary parts, tensors of shape `(rows *
        (columns // 2 + 1), channels, filters)`: a complex matrix for each
        frequency of a real transform, which multiplies rows of channels.
    """
    rows, columns = sides
    height, width, channels, filters = kernel.shape
    row_turns = _turns(rows, rows, height)[:, np.newaxis, :, np.newaxis]
    column_turns = _turns(columns // 2 + 1, columns, width)[:, np.newaxis]
    angles = 2 * np.pi * (row_turns + column_turns)
    angles = angles.reshape(-1, height * width)
    taps = ops.reshape(kernel, (height * width, channels * filters))
    parts = []
    for wave in (np.cos(angles), np.sin(angles)):
        wave = ops.convert_to_tensor(wave, dtype=kernel.dtype)
        part = ops.matmul(wave, taps)
        parts.append(ops.reshape(part, (-1, channels, filters)))
    return parts[0], parts[1]


def _turns(frequencies: int, side: int, taps: int) -> Array:
    """Returns the phase of each tap at each frequency, in turns."""
    # `"same"` puts the first tap so many pixels before the output.
    offsets = np.arange(taps) - (taps - 1) // 2
    return np.outer(np.arange(frequencies), offsets) % side / side
