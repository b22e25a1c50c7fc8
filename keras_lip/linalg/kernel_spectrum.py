"""The frequency response of a 2D convolution."""

from typing import Any

import numpy as np
from keras import ops

from keras_lip.traces import constant
from keras_lip.types import Array
from keras_lip.types import Tensor


def kernel_spectrum(
    kernel: Tensor, sides: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Computes the matrix of a circular convolution at each frequency.

    Args:
        kernel: Tensor of shape `(height, width, channels, filters)`.
        sides: Pair of positive integers. Rows and columns of the images. A
            longer window touches pixels more than once.

    Returns:
        Tuple of the real and the imaginary parts, tensors of shape `(rows *
        (columns // 2 + 1), channels, filters)`: a complex matrix for each
        frequency of a real Fourier transform, which multiplies row vectors of
        channels.
    """
    height, width, channels, filters = kernel.shape
    taps = ops.reshape(kernel, (height * width, channels * filters))
    real, imaginary = (
        ops.reshape(ops.matmul(waves, taps), (-1, channels, filters))
        for waves in (
            _make_waves("cos", sides, (height, width), kernel.dtype),
            _make_waves("sin", sides, (height, width), kernel.dtype),
        )
    )
    return real, imaginary


@constant
def _make_waves(
    wave: str, sides: tuple[int, int], window: tuple[int, int], dtype: Any
) -> Tensor:
    """Returns the values of a wave at each tap, for each frequency."""
    rows, columns = sides
    height, width = window
    row_turns = _turns(rows, rows, height)[:, np.newaxis, :, np.newaxis]
    column_turns = _turns(columns // 2 + 1, columns, width)[:, np.newaxis]
    angles = 2 * np.pi * (row_turns + column_turns)
    waves = getattr(np, wave)(angles).reshape(-1, height * width)
    return ops.convert_to_tensor(waves, dtype=dtype)


def _turns(frequencies: int, side: int, taps: int) -> Array:
    """Returns the phase of each tap at each frequency, in turns."""
    # With `"same"`, the first tap is this many pixels before the output.
    offsets = np.arange(taps) - (taps - 1) // 2
    return np.outer(np.arange(frequencies), offsets) % side / side
