"""Operations that combine tensors."""

from typing import Any

import numpy as np
from keras import ops

from keras_lip.program.builder import Wire
from keras_lip.program.freezing.checks import check_same_shapes
from keras_lip.program.freezing.operations.common import classes_of
from keras_lip.program.freezing.operations.common import counted_axis
from keras_lip.program.freezing.operations.common import is_wire
from keras_lip.program.freezing.operations.common import known_rank
from keras_lip.program.freezing.operations.common import read_constant
from keras_lip.program.freezing.operations.common import refuse_samples
from keras_lip.program.freezing.operations.shapes import insert_axis
from keras_lip.program.freezing.registry import register_freezer
from keras_lip.program.freezing.stock.merges import concatenate
from keras_lip.program.nodes.affine import Affine
from keras_lip.program.nodes.elementwise import Elementwise
from keras_lip.program.nodes.merges import Extremum


@register_freezer(*classes_of(lambda x: ops.concatenate([x, x], axis=1)))
def _(layer: Any, wires: list[Wire]) -> Wire:
    _check_all(layer, wires)
    return concatenate(
        layer, counted_axis(layer, layer.axis, wires[0]), tuple(wires)
    )


@register_freezer(*classes_of(lambda x: ops.stack([x, x], axis=1)))
def _(layer: Any, wires: list[Wire]) -> Wire:
    _check_all(layer, wires)
    ndim = len(known_rank(layer, wires[0])) + 2
    axis = layer.axis % ndim
    refuse_samples(layer, axis)
    return concatenate(
        layer, axis, tuple(insert_axis(layer, wire, axis) for wire in wires)
    )


def _check_all(layer: Any, wires: Any) -> None:
    if not all(is_wire(wire) for wire in wires):
        raise ValueError(
            f"Operation '{layer.name}' combines tensors with constants, for "
            "which no bound is known."
        )


@register_freezer(*classes_of(lambda x: ops.maximum(x, x)))
def _(layer: Any, first: Any, second: Any) -> Wire:
    return _extremum(layer, first, second, True)


@register_freezer(*classes_of(lambda x: ops.minimum(x, x)))
def _(layer: Any, first: Any, second: Any) -> Wire:
    return _extremum(layer, first, second, False)


def _extremum(layer: Any, first: Any, second: Any, largest: bool) -> Wire:
    if is_wire(first) and is_wire(second):
        check_same_shapes(layer, (first, second))
        return first.then(Extremum(largest), second)
    wire, value = (first, second) if is_wire(first) else (second, first)
    limit = read_constant(layer, value, wire)
    # `max(x, c) = relu(x - c) + c`, and `min(x, c) = c - relu(c - x)`.
    one = np.ones_like(limit)
    if largest:
        moved = wire.then(Affine(one, -limit)).then(Elementwise("relu"))
        return moved.then(Affine(one, limit))
    moved = wire.then(Affine(-one, limit)).then(Elementwise("relu"))
    return moved.then(Affine(-one, limit))
