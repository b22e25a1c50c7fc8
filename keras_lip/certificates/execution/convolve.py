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
    padding: str,
) -> Array:
    """Convolves images as the layers of Keras do.

    Args:
        images: Array of shape `(num_samples, *sides, channels)`.
        kernel: Array of shape `(*window, channels // groups, filters)`.
        strides: Distances from one window to the next, for each axis.
        dilation_rate: Distances between taps, for each axis.
        groups: Positive integer. Number of groups of channels.
        padding: `"valid"`, `"same"` or `"causal"`.

    Returns:
        Array of shape `(num_samples, *sides, filters)`.
    """
    *window, _, filters = kernel.shape
    extents = [
        (taps - 1) * rate + 1
        for taps, rate in zip(window, dilation_rate, strict=True)
    ]
    pads = [
        _pad_width(side, extent, stride, padding)
        for side, extent, stride in zip(
            images.shape[1:-1], extents, strides, strict=True
        )
    ]
    images = np.pad(images, [(0, 0), *pads, (0, 0)])
    sides = [
        (side - extent) // stride + 1
        for side, extent, stride in zip(
            images.shape[1:-1], extents, strides, strict=True
        )
    ]
    # The groups come before the matrices that are multiplied.
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


def _pad_width(
    side: int, extent: int, stride: int, padding: str
) -> tuple[int, int]:
    if padding == "valid":
        return 0, 0
    if padding == "causal":
        return extent - 1, 0
    missing = max((-(-side // stride) - 1) * stride + extent - side, 0)
    return missing // 2, missing - missing // 2
