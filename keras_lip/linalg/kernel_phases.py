"""Turns strides of a convolution into channels of its kernel, and back."""

import math

from keras import ops

from keras_lip.operators import pad_zeros
from keras_lip.types import Tensor


def split_phases(kernel: Tensor, strides: tuple[int, ...]) -> Tensor:
    """Turns a kernel with strides into a kernel on the image's phases.

    With stride `s`, tap `s * q + r` only touches pixels of phase `r`. It is tap
    `q` of a convolution without strides, on the image whose channels are the
    phases. This image is a permutation of the original one, as in invertible
    downsampling.

    Args:
        kernel: Tensor of shape `(*window, channels, filters)`.
        strides: Tuple of positive integers, one for each axis of the window.

    Returns:
        Tensor of shape `(*taps, phases * channels, filters)`, with `ceil(window
        / strides)` taps and `prod(strides)` phases.
    """
    *window, channels, filters = kernel.shape
    padding = [(0, -size % s) for size, s in zip(window, strides, strict=True)]
    kernel = pad_zeros(kernel, [*padding, (0, 0), (0, 0)])
    taps = [-(-size // s) for size, s in zip(window, strides, strict=True)]
    pairs = [n for pair in zip(taps, strides, strict=True) for n in pair]
    kernel = ops.reshape(kernel, (*pairs, channels, filters))
    kernel = ops.transpose(kernel, _phases_last(len(window)))
    phases = math.prod(strides)
    return ops.reshape(kernel, (*taps, phases * channels, filters))


def merge_phases(
    kernel: Tensor, window: tuple[int, ...], strides: tuple[int, ...]
) -> Tensor:
    """Inverts `split_phases`.

    Args:
        kernel: The result of `split_phases`.
        window: Tuple of integers. The window of the original kernel.
        strides: Tuple of integers. The strides passed to `split_phases`.

    Returns:
        Tensor of shape `(*window, channels, filters)`.
    """
    *taps, channels, filters = kernel.shape
    channels //= math.prod(strides)
    kernel = ops.reshape(kernel, (*taps, *strides, channels, filters))
    order = _phases_last(len(window))
    inverse = sorted(range(len(order)), key=order.__getitem__)
    kernel = ops.transpose(kernel, inverse)
    padded = [n * s for n, s in zip(taps, strides, strict=True)]
    kernel = ops.reshape(kernel, (*padded, channels, filters))
    return kernel[tuple(slice(size) for size in window)]


def _phases_last(rank: int) -> list[int]:
    """Orders `(tap, phase, tap, phase, ...)` as taps, phases, channels."""
    taps, phases = range(0, 2 * rank, 2), range(1, 2 * rank, 2)
    return [*taps, *phases, 2 * rank, 2 * rank + 1]
