"""Executions of what moves, compares, copies or drops entries."""

from typing import Any

import keras
from keras import layers
from keras import ops

from keras_lip.bounds.propagate_bound import propagate_bound
from keras_lip.certificates.execution.execute import Machine
from keras_lip.certificates.execution.execute import execute
from keras_lip.certificates.execution.execute import refuse
from keras_lip.certificates.execution.execution import Execution
from keras_lip.certificates.execution.execution import join_executions
from keras_lip.certificates.execution.operations import OPERATIONS
from keras_lip.precision import float64_scope
from keras_lip.types import Array


# At inference these pass their input on as it is.
@execute.register(
    layers.Identity,
    layers.Dropout,
    layers.SpatialDropout1D,
    layers.SpatialDropout2D,
    layers.SpatialDropout3D,
    layers.ActivityRegularization,
)
def _(layer: Any, args: tuple[Any, ...], machine: Machine) -> Execution:
    return args[0]


@execute.register(OPERATIONS["convert"])
def _(layer: Any, args: tuple[Any, ...], machine: Machine) -> Execution:
    if layer.dtype not in (None, machine.arithmetic.dtype):
        refuse(layer, f"it rounds to {layer.dtype}", machine)
    return args[0]


@execute.register(
    layers.Cropping1D,
    layers.Cropping2D,
    layers.Flatten,
    layers.GlobalMaxPooling1D,
    layers.GlobalMaxPooling2D,
    layers.MaxPooling1D,
    layers.MaxPooling2D,
    layers.Permute,
    layers.Reshape,
    layers.ZeroPadding1D,
    layers.ZeroPadding2D,
)
def _(layer: Any, args: tuple[Any, ...], machine: Machine) -> Execution:
    scale = propagate_bound(layer, 1.0)
    (value,) = _select(layer, args, machine)
    return args[0].with_value(value, scale).with_flushing(machine.arithmetic)


@execute.register(
    layers.Maximum,
    layers.Minimum,
    OPERATIONS["maximum"],
    OPERATIONS["minimum"],
)
def _(layer: Any, args: tuple[Any, ...], machine: Machine) -> list[Execution]:
    _check_operands(layer, args, machine)
    # |max(a, b) - max(a', b')| is at most the larger of the changes.
    return _join(layer, args, machine)


@execute.register(OPERATIONS["pad"])
def _(layer: Any, args: tuple[Any, ...], machine: Machine) -> list[Execution]:
    if layer.mode != "constant":
        refuse(layer, "it pads with something else than zeros", machine)
    return _join(layer, args, machine)


@execute.register(
    layers.Concatenate,
    OPERATIONS["absolute"],
    OPERATIONS["concatenate"],
    OPERATIONS["index"],
    OPERATIONS["moveaxis"],
    OPERATIONS["reshape"],
    OPERATIONS["sort"],
    OPERATIONS["split"],
    OPERATIONS["stack"],
    OPERATIONS["transpose"],
    OPERATIONS["unstack"],
)
def _join(
    layer: Any, args: tuple[Any, ...], machine: Machine
) -> list[Execution]:
    joined = join_executions(_find_executions(args))
    return [
        joined.with_value(value).with_flushing(machine.arithmetic)
        for value in _select(layer, args, machine)
    ]


def _select(layer: Any, args: tuple[Any, ...], machine: Machine) -> list[Array]:
    """Runs a layer or operation itself, on float64 tensors."""
    samples = {len(leaf.value) for leaf in _find_executions(args)}
    values = [] if _moves_samples(layer, args) else _run(layer, args)
    if {len(value) for value in values} != samples:
        refuse(layer, "it joins, moves or drops samples", machine)
    return values


def _run(layer: Any, args: tuple[Any, ...]) -> list[Array]:
    def convert(leaf: Any) -> Any:
        if isinstance(leaf, Execution):
            return ops.convert_to_tensor(leaf.value, dtype="float64")
        return leaf

    with float64_scope():
        outputs = layer.call(*keras.tree.map_structure(convert, args))
        leaves = keras.tree.flatten(outputs)
        return [ops.convert_to_numpy(leaf) for leaf in leaves]


def _find_executions(args: tuple[Any, ...]) -> list[Execution]:
    leaves = keras.tree.flatten(args)
    return [leaf for leaf in leaves if isinstance(leaf, Execution)]


def _check_operands(
    layer: Any, args: tuple[Any, ...], machine: Machine
) -> None:
    """Refuses a comparison with constants, or one that broadcasts."""
    leaves = keras.tree.flatten(args)
    if not all(isinstance(leaf, Execution) for leaf in leaves):
        refuse(layer, "it compares a tensor with constants", machine)
    if len({leaf.value.shape for leaf in leaves}) > 1:
        refuse(layer, "it broadcasts its inputs", machine)


def _moves_samples(layer: Any, args: tuple[Any, ...]) -> bool:
    """Whether an operation acts along the first axis."""
    kind: type = type(layer)
    ndim = keras.tree.flatten(args)[0].value.ndim
    if kind is OPERATIONS["index"]:
        key = args[1][0] if isinstance(args[1], tuple | list) else args[1]
        return key not in (slice(None), Ellipsis)
    if kind is OPERATIONS["transpose"]:
        return layer.axes is None or layer.axes[0] != 0
    if kind is OPERATIONS["moveaxis"]:
        return any(
            axis % ndim == 0 for axis in [*layer.source, *layer.destination]
        )
    if kind is OPERATIONS["stack"]:
        return layer.axis in (0, -ndim - 1)
    axis = getattr(layer, "axis", 1)
    return axis is None or axis % ndim == 0
