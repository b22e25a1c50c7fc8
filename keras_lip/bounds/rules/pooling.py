"""Bounds of the pooling layers of Keras."""

import math
from typing import Any

from keras import layers

from keras_lip.bounds.norms import NORMS
from keras_lip.bounds.propagate_bound import propagate_bound
from keras_lip.bounds.rounding import divide_up
from keras_lip.bounds.rounding import multiply_up
from keras_lip.bounds.rounding import sqrt_up


# An entry is the maximum of at most `overlap` windows; each window's maximum
# changes by no more than one of its entries does.
@propagate_bound.register(
    layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D
)
def _(layer: Any, inputs: float) -> float:
    return multiply_up(inputs, sqrt_up(_overlap(layer)))


# The largest entry of a window moves by no more than the entry that moves the
# most, and so does their average.
@propagate_bound.register(
    layers.MaxPooling1D,
    layers.MaxPooling2D,
    layers.MaxPooling3D,
    layers.AveragePooling1D,
    layers.AveragePooling2D,
    layers.AveragePooling3D,
    layers.GlobalAveragePooling1D,
    layers.GlobalAveragePooling2D,
    layers.GlobalAveragePooling3D,
    norms=("linf",),
)
def _(layer: Any, inputs: float) -> float:
    return inputs


@propagate_bound.register(
    layers.GlobalMaxPooling1D,
    layers.GlobalMaxPooling2D,
    layers.GlobalMaxPooling3D,
    norms=NORMS,
)
def _(layer: Any, inputs: float) -> float:
    return inputs


# The norm is at most sqrt(|A|_1 |A|_inf). Each output averages, so |A|_inf is
# one; each input enters at most `overlap` windows, with a weight of one in
# `cells`, so |A|_1 is at most their ratio. A window that hangs over the border
# ("same") may average one cell alone.
@propagate_bound.register(
    layers.AveragePooling1D, layers.AveragePooling2D, layers.AveragePooling3D
)
def _(layer: Any, inputs: float) -> float:
    cells = math.prod(layer.pool_size) if layer.padding == "valid" else 1
    return multiply_up(inputs, sqrt_up(divide_up(_overlap(layer), cells)))


@propagate_bound.register(
    layers.GlobalAveragePooling1D,
    layers.GlobalAveragePooling2D,
    layers.GlobalAveragePooling3D,
)
def _(layer: Any, inputs: float) -> float:
    shape = getattr(inputs, "shape", None)
    if shape is None:
        return inputs
    window = shape[1:-1] if layer.data_format == "channels_last" else shape[2:]
    cells = math.prod(size or 1 for size in window)
    return multiply_up(inputs, divide_up(1.0, math.sqrt(cells) * (1 - 2**-50)))


def _overlap(layer: Any) -> int:
    """Returns how many windows an entry lies in, at most."""
    return math.prod(
        math.ceil(size / stride)
        for size, stride in zip(layer.pool_size, layer.strides, strict=True)
    )
