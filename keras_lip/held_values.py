"""What layers compute from their weights, kept while the weights stay."""

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any
from typing import NamedTuple

import keras
from keras import ops

from keras_lip.traces import is_compiling
from keras_lip.traces import is_concrete


class _Held(NamedTuple):
    """What was computed for a layer, and the weights it was computed from."""

    layer: Any
    weights: list[Any]
    computed: Any


# What was computed, by the identity of the layer.
Values = dict[int, _Held]

_values: contextvars.ContextVar[Values | None] = contextvars.ContextVar(
    "held_values", default=None
)

# Variables, by the identity of the layer.
Slots = dict[int, Any]

_slots: contextvars.ContextVar[Slots | None] = contextvars.ContextVar(
    "held_slots", default=None
)


@contextlib.contextmanager
def holding_values(values: Values) -> Iterator[None]:
    """Makes a context in which kernels at inference are computed once.

    A live model constrains its kernels again for every batch. Where the same
    weights are known to run, as while one model is certified, once is enough.

    Args:
        values: Dict that keeps them, empty at first.
    """
    token = _values.set(values)
    try:
        yield
    finally:
        _values.reset(token)


@contextlib.contextmanager
def reading_slots(slots: Slots) -> Iterator[None]:
    """Makes a context in which layers read what was computed from variables.

    A compiled function computes in every call what it computes at all. It
    reads variables instead, which its owner keeps up to date.

    Args:
        slots: Dict from the identity of a layer to a variable, or a tuple of
            them, that holds what its `_constrain` returns.
    """
    token = _slots.set(slots)
    try:
        yield
    finally:
        _slots.reset(token)


def read_slot(layer: Any) -> Any:
    """Returns what `_constrain` of a layer returned, if a variable holds it.

    Args:
        layer: The layer.

    Returns:
        A tensor, or a tuple of them; `None` if no variable holds it.
    """
    # PyTorch's compiler knows no context variables, and no identities.
    slots = None if is_compiling() else _slots.get()
    if slots is None or id(layer) not in slots:
        return None
    return keras.tree.map_structure(ops.convert_to_tensor, slots[id(layer)])


def compute_once(layer: Any) -> Any:
    """Returns what inference computes from a layer's weights alone.

    Args:
        layer: The layer. Its method `_constrain` computes it: a tensor, or a
            tuple of them.
    """
    compute = layer._constrain
    held_in_variables = read_slot(layer)
    if held_in_variables is not None:
        return held_in_variables
    values = None if is_compiling() else _values.get()
    if values is None:
        return compute()
    # A layer that runs on other weights in turns computes for each of them.
    weights = [variable.value for variable in layer.variables]
    held = values.get(id(layer))
    if held is not None and _are_same(held.weights, weights):
        return held.computed
    computed = compute()
    if all(map(is_concrete, keras.tree.flatten(computed))):
        computed = keras.tree.map_structure(ops.stop_gradient, computed)
        # The layer and its weights are kept, and with them their identities.
        values[id(layer)] = _Held(layer, weights, computed)
    return computed


def _are_same(first: list[Any], second: list[Any]) -> bool:
    return len(first) == len(second) and all(
        one is other for one, other in zip(first, second, strict=True)
    )
