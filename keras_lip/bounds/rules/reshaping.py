"""Bounds of the layers of Keras that move, copy or drop entries."""

from typing import Any

import numpy as np
from keras import layers

from keras_lip.bounds.norms import NORMS
from keras_lip.bounds.propagate_bound import propagate_bound
from keras_lip.bounds.rounding import multiply_up
from keras_lip.bounds.rounding import sqrt_up


@propagate_bound.register(
    layers.Flatten,
    layers.Permute,
    layers.Reshape,
    layers.Cropping1D,
    layers.Cropping2D,
    layers.Cropping3D,
    layers.ZeroPadding1D,
    layers.ZeroPadding2D,
    layers.ZeroPadding3D,
    norms=NORMS,
)
def _(layer: Any, inputs: float) -> float:
    return inputs


@propagate_bound.register(layers.RepeatVector)
def _(layer: layers.RepeatVector, inputs: float) -> float:
    return multiply_up(inputs, sqrt_up(layer.n))


@propagate_bound.register(layers.RepeatVector, norms=("linf",))
def _(layer: layers.RepeatVector, inputs: float) -> float:
    return inputs


@propagate_bound.register(
    layers.UpSampling1D, layers.UpSampling2D, layers.UpSampling3D
)
def _(layer: Any, inputs: float) -> float:
    _check_copies(layer)
    copies = float(np.prod(layer.size))
    return multiply_up(inputs, sqrt_up(copies))


@propagate_bound.register(
    layers.UpSampling1D,
    layers.UpSampling2D,
    layers.UpSampling3D,
    norms=("linf",),
)
def _(layer: Any, inputs: float) -> float:
    _check_copies(layer)
    return inputs


def _check_copies(layer: Any) -> None:
    interpolation = getattr(layer, "interpolation", "nearest")
    if interpolation != "nearest":
        raise ValueError(
            f"Layer '{layer.name}' must repeat its entries to be bounded, as "
            'with interpolation="nearest". Received: '
            f"interpolation={interpolation!r}"
        )
