"""Layers that merge tensors."""

from typing import Any

import numpy as np
from keras import layers

from keras_lip.program.builder import Wire
from keras_lip.program.freezing.checks import check_same_shapes
from keras_lip.program.freezing.registry import register_freezer
from keras_lip.program.nodes.affine import Affine
from keras_lip.program.nodes.merges import Combine
from keras_lip.program.nodes.merges import Concatenate
from keras_lip.program.nodes.merges import Extremum


@register_freezer(layers.Add)
def _(layer: Any, *x: Wire) -> Wire:
    check_same_shapes(layer, x)
    return x[0].then(Combine((1.0,) * len(x)), *x[1:])


@register_freezer(layers.Subtract)
def _(layer: Any, *x: Wire) -> Wire:
    check_same_shapes(layer, x)
    return x[0].then(Combine((1.0, -1.0)), *x[1:])


@register_freezer(layers.Average)
def _(layer: Any, *x: Wire) -> Wire:
    check_same_shapes(layer, x)
    total = x[0].then(Combine((1.0,) * len(x)), *x[1:])
    share = np.array(1 / len(x))
    return total.then(Affine(share, np.array(0.0), exact=False))


@register_freezer(layers.Maximum)
def _(layer: Any, *x: Wire) -> Wire:
    check_same_shapes(layer, x)
    return x[0].then(Extremum(True), *x[1:])


@register_freezer(layers.Minimum)
def _(layer: Any, *x: Wire) -> Wire:
    check_same_shapes(layer, x)
    return x[0].then(Extremum(False), *x[1:])


@register_freezer(layers.Concatenate)
def _(layer: Any, *x: Wire) -> Wire:
    return concatenate(layer, layer.axis, x)


def concatenate(layer: Any, axis: int, x: tuple[Wire, ...]) -> Wire:
    """Concatenates wires along an axis of a batch."""
    shape = x[0].shape
    # Without a shape, only the last axis is known not to be the batch axis.
    own = axis if shape is None else axis % (len(shape) + 1)
    if own == 0:
        raise ValueError(
            f"Layer '{layer.name}' concatenates samples, so no bound for one "
            f"sample is known. Received: axis={axis}"
        )
    return x[0].then(Concatenate(own - 1 if own > 0 else own), *x[1:])
