"""Activation functions as layers."""

from typing import Any

import numpy as np
from keras import layers

from keras_lip.program.builder import Wire
from keras_lip.program.freezing.activations import activate
from keras_lip.program.freezing.checks import check_fits
from keras_lip.program.freezing.checks import refuse_masks
from keras_lip.program.freezing.checks import unknown_layer
from keras_lip.program.freezing.reading import round_constant
from keras_lip.program.freezing.reading import sample_axis
from keras_lip.program.freezing.registry import register_freezer
from keras_lip.program.nodes.elementwise import ExponentialLinear
from keras_lip.program.nodes.elementwise import Rectify
from keras_lip.program.nodes.elementwise import Softmax
from keras_lip.program.nodes.selections import Transpose
from keras_lip.read_weight import read_kernel


@register_freezer(layers.Activation)
def _(layer: Any, x: Wire) -> Wire:
    return activate(x, layer.activation)


@register_freezer(layers.ReLU)
def _(layer: Any, x: Wire) -> Wire:
    if layer.threshold != 0:
        raise ValueError(
            f"Layer '{layer.name}' is discontinuous at its `threshold`, so it "
            f"has no Lipschitz constant. Received: threshold={layer.threshold}"
        )
    limit = layer.max_value
    if limit is not None and limit < 0:
        raise unknown_layer(layer, f"its `max_value` is {limit}")
    return x.then(
        Rectify(
            float(round_constant(x, layer.negative_slope)),
            None if limit is None else float(read_kernel(layer, limit)),
        )
    )


@register_freezer(layers.LeakyReLU)
def _(layer: Any, x: Wire) -> Wire:
    return x.then(Rectify(float(round_constant(x, layer.negative_slope)), None))


@register_freezer(layers.ELU)
def _(layer: Any, x: Wire) -> Wire:
    return x.then(ExponentialLinear(float(round_constant(x, layer.alpha))))


@register_freezer(layers.PReLU)
def _(layer: Any, x: Wire) -> Wire:
    alpha = read_kernel(layer, layer.alpha)
    check_fits(layer, x, alpha.shape)
    return x.then(Rectify(alpha, None))


@register_freezer(layers.Softmax)
def _(layer: Any, x: Wire) -> Wire:
    if not isinstance(layer.axis, int):
        raise unknown_layer(layer, f"its `axis` is {layer.axis}")
    refuse_masks(layer, x)
    return _along_last(x, layer.axis, lambda y: y.then(Softmax()), layer)


def _along_last(x: Wire, axis: int, apply: Any, layer: Any) -> Wire:
    """Applies a function along an axis of a batch."""
    if axis == -1:
        return apply(x)
    if x.shape is None:
        raise unknown_layer(layer, "the shape of its input is not known")
    ndim = len(x.shape)
    if axis in (0, -ndim - 1):
        raise unknown_layer(layer, "it acts along the samples")
    own = sample_axis(x, axis)
    order = (*(n for n in range(ndim) if n != own), own)
    back = tuple(int(n) for n in np.argsort(order))
    return apply(x.then(Transpose(order))).then(Transpose(back))
