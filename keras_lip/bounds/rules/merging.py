"""Bounds of the layers of Keras that join branches."""

from typing import Any

from keras import layers

from keras_lip.bounds.norms import NORMS
from keras_lip.bounds.propagate_bound import propagate_bound
from keras_lip.bounds.rounding import add_up
from keras_lip.bounds.rounding import divide_up
from keras_lip.bounds.rounding import hypot_up
from keras_lip.bounds.rules.broadcasting import check_same_shapes


@propagate_bound.register(layers.Add, layers.Subtract, norms=NORMS)
def _(layer: Any, inputs: list[float]) -> float:
    check_same_shapes(layer, inputs)
    return add_up(*inputs)


@propagate_bound.register(layers.Average, norms=NORMS)
def _(layer: layers.Average, inputs: list[float]) -> float:
    check_same_shapes(layer, inputs)
    return divide_up(add_up(*inputs), len(inputs))


# |max(a, b) - max(a', b')| is at most the larger of the changes of a and b.
@propagate_bound.register(layers.Maximum, layers.Minimum)
def _(layer: Any, inputs: list[float]) -> float:
    check_same_shapes(layer, inputs)
    return hypot_up(*inputs)


@propagate_bound.register(layers.Maximum, layers.Minimum, norms=("linf",))
def _(layer: Any, inputs: list[float]) -> float:
    check_same_shapes(layer, inputs)
    return max(inputs)


@propagate_bound.register(layers.Concatenate)
def _(layer: layers.Concatenate, inputs: list[float]) -> float:
    _check_axis(layer, inputs)
    return hypot_up(*inputs)


@propagate_bound.register(layers.Concatenate, norms=("linf",))
def _(layer: layers.Concatenate, inputs: list[float]) -> float:
    _check_axis(layer, inputs)
    return max(inputs)


def _check_axis(layer: layers.Concatenate, inputs: list[float]) -> None:
    shape = getattr(inputs[0], "shape", None)
    # Without a shape, no more is known than that the last axis is not first.
    axis = layer.axis if shape is None else layer.axis % len(shape)
    if axis == 0:
        raise ValueError(
            f"Layer '{layer.name}' joins samples, so that no bound of one "
            f"sample is known. Received: axis={layer.axis}"
        )
