"""Convolutions on the host, as one matrix product for each tap."""

import itertools
from collections.abc import Sequence

import numpy as np

from keras_lip.types import Array


def convolve(
    images: Array,
    kernel: Array,
    strides: Sequence[int],
    dilation_rate: Sequence[int],
    groups: int,
) -> Array:
    """Convolves images, without padding.

    Args:
        images: Array of shape `(num_samples, *sides, channels)`.
        kernel: Array of shape `(*window, channels // groups, filters)`.
        strides: Strides, one for each axis.
        dilation_rate: Dilation rates, one for each axis.
        groups: Positive integer. Number of groups of channels.

    Returns:
        Array of shape `(num_samples, *sides, filters)`.
    """
    *window, _, filters = kernel.shape
    extents = [
        (taps - 1) * rate + 1
        for taps, rate in zip(window, dilation_rate, strict=True)
    ]
    sides = [
        (side - extent) // stride + 1
        for side, extent, stride in zip(
            images.shape[1:-1], extents, strides, strict=True
        )
    ]
    # The group axis precedes the axes of the multiplied matrices.
    kernel = np.moveaxis(
        kernel.reshape(*kernel.shape[:-1], groups, filters // groups), -2, -3
    )
    outputs = np.zeros((groups, len(images), *sides, filters // groups))
    for tap in itertools.product(*map(range, window)):
        slices = tuple(
            slice(index * rate, index * rate + (side - 1) * stride + 1, stride)
            for index, rate, side, stride in zip(
                tap, dilation_rate, sides, strides, strict=True
            )
        )
        pixels = images[(slice(None), *slices)]
        pixels = pixels.reshape(*pixels.shape[:-1], groups, -1)
        rows = np.moveaxis(pixels, -2, 0).reshape(groups, -1, kernel.shape[-2])
        outputs += (rows @ kernel[tap]).reshape(outputs.shape)
    return np.moveaxis(outputs, 0, -2).reshape(len(images), *sides, filters)


def pad_width(
    side: int, extent: int, stride: int, padding: str
) -> tuple[int, int]:
    """Returns the padding before and after one side, as in Keras."""
    if padding == "valid":
        return 0, 0
    if padding == "causal":
        return extent - 1, 0
    missing = max((-(-side // stride) - 1) * stride + extent - side, 0)
    return missing // 2, missing - missing // 2


def transpose_convolve(
    outputs: Array,
    kernel: Array,
    strides: Sequence[int],
    dilation_rate: Sequence[int],
    groups: int,
    sides: Sequence[int],
) -> Array:
    """Applies the adjoint of `convolve` with padding `"valid"`.

    Args:
        outputs: Array of shape `(num_samples, *sides, filters)`.
        kernel: Array of shape `(*window, channels // groups, filters)`.
        strides: Strides, one for each axis.
        dilation_rate: Dilation rates, one for each axis.
        groups: Positive integer. Number of groups of channels.
        sides: Sides of the result, at least as large as the windows reach.

    Returns:
        Array of shape `(num_samples, *sides, channels)`.
    """
    *window, channels, filters = kernel.shape
    number, reached = len(outputs), outputs.shape[1:-1]
    split = kernel.reshape(*window, channels, groups, filters // groups)
    # One matrix for each tap and group, of shape `(filters, channels)`.
    split = np.moveaxis(split, -2, -3).swapaxes(-2, -1)
    rows = outputs.reshape(-1, groups, filters // groups).swapaxes(0, 1)
    images = np.zeros((number, *sides, groups * channels))
    for tap in itertools.product(*map(range, window)):
        slices = tuple(
            slice(index * rate, index * rate + (side - 1) * stride + 1, stride)
            for index, rate, side, stride in zip(
                tap, dilation_rate, reached, strides, strict=True
            )
        )
        pixels = (rows @ split[tap]).swapaxes(0, 1)
        images[(slice(None), *slices)] += pixels.reshape(number, *reached, -1)
    return images
