"""Bounds of the layers of Keras that join branches."""

from collections.abc import Sequence
from typing import Any

from keras import layers

from keras_lip.bounds.propagate_bound import propagate_bound
from keras_lip.bounds.rounding import add_up
from keras_lip.bounds.rounding import divide_up
from keras_lip.bounds.rounding import hypot_up


@propagate_bound.register(layers.Add, layers.Subtract)
def _(layer: Any, inputs: list[float]) -> float:
    check_same_shapes(layer, inputs)
    return add_up(*inputs)


@propagate_bound.register(layers.Average)
def _(layer: layers.Average, inputs: list[float]) -> float:
    check_same_shapes(layer, inputs)
    return divide_up(add_up(*inputs), len(inputs))


# |max(a, b) - max(a', b')| is at most the larger of the changes of a and b.
@propagate_bound.register(layers.Maximum, layers.Minimum)
def _(layer: Any, inputs: list[float]) -> float:
    check_same_shapes(layer, inputs)
    return hypot_up(*inputs)


@propagate_bound.register(layers.Concatenate)
def _(layer: layers.Concatenate, inputs: list[float]) -> float:
    if layer.axis == 0:
        raise ValueError(
            f"Layer '{layer.name}' joins samples, so that no bound of one "
            "sample is known. Received: axis=0"
        )
    return hypot_up(*inputs)


def check_same_shapes(layer: Any, inputs: Sequence[float]) -> None:
    """Refuses inputs that would be broadcast, which stretches their norm."""
    shapes = [getattr(bound, "shape", None) for bound in inputs]
    known = {tuple(shape) for shape in shapes if shape is not None}
    if len(known) > 1:
        raise ValueError(
            f"Layer '{layer.name}' must not broadcast its inputs to be "
            f"bounded. Received: input shapes {sorted(known, key=str)}"
        )
