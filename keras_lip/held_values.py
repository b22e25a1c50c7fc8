"""A cache of values that layers compute from their weights."""

import contextlib
import contextvars
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any
from typing import NamedTuple

import keras
from keras import ops

from keras_lip.constrain import can_keep
from keras_lip.constrain import constrain
from keras_lip.constrain import constrain_again
from keras_lip.constrain import detach
from keras_lip.traces import is_compiling


class _Held(NamedTuple):
    """The cached values of a layer, and the weights they were computed from."""

    layer: Any
    weights: list[Any]
    computed: Any


# Cached values, by the identity of the layer and the name of the value.
Values = dict[tuple[int, str], _Held]

_values: contextvars.ContextVar[Values | None] = contextvars.ContextVar(
    "held_values", default=None
)

# Variables, by the identity of the layer.
Slots = dict[int, Any]

_slots: contextvars.ContextVar[Slots | None] = contextvars.ContextVar(
    "held_slots", default=None
)


@contextlib.contextmanager
def holding_values(values: Values | None = None) -> Iterator[None]:
    """Makes a context in which inference computes kernels only once.

    A live model computes its constrained kernels again for every batch. If the
    weights do not change, for example while a model is certified, once is
    enough.

    Args:
        values: Dict that stores the values, initially empty. Defaults to
            `None`, for the dict of the surrounding context or, outside of one,
            an empty dict.
    """
    if values is None:
        values = _values.get()
    token = _values.set({} if values is None else values)
    try:
        yield
    finally:
        _values.reset(token)


@contextlib.contextmanager
def reading_slots(slots: Slots) -> Iterator[None]:
    """Makes a context in which layers read cached values from variables.

    A compiled function would compute the values in every call. In this context
    it reads variables instead, which their owner keeps up to date.

    Args:
        slots: Dict from the identity of a layer to a variable, or a tuple of
            variables, with the result of its `_constrain`.
    """
    token = _slots.set(slots)
    try:
        yield
    finally:
        _slots.reset(token)


def read_slot(layer: Any) -> Any:
    """Returns the result of a layer's `_constrain`, if a variable holds it.

    Args:
        layer: The layer.

    Returns:
        A tensor, or a tuple of them; `None` if no variable holds it.
    """
    # PyTorch's compiler supports neither context variables nor `id`.
    slots = None if is_compiling() else _slots.get()
    if slots is None or id(layer) not in slots:
        return None
    return keras.tree.map_structure(ops.convert_to_tensor, slots[id(layer)])


def compute_once(layer: Any) -> Any:
    """Returns the values that inference computes from a layer's weights alone.

    Args:
        layer: The layer. Its method `_constrain` computes the values: a tensor
            or a tuple of tensors.
    """
    held_in_variables = read_slot(layer)
    if held_in_variables is not None:
        return held_in_variables
    if not _is_holding():
        return constrain(layer)
    return hold_once(layer, "constrained", lambda: constrain_again(layer))


def hold_once(layer: Any, name: str, compute: Callable[[], Any]) -> Any:
    """Returns a value that depends on a layer's weights alone.

    In a context of `holding_values` it is computed once.

    Args:
        layer: The layer.
        name: Name of the value.
        compute: Function without arguments that returns numbers or tensors.
    """
    values = _values.get() if _is_holding() else None
    if values is None:
        return compute()
    # If a layer alternates between weights, it computes the values for each.
    weights = [variable.value for variable in layer.variables]
    held = values.get((id(layer), name))
    if held is not None and _are_same(held.weights, weights):
        return held.computed
    computed = compute()
    if can_keep(computed):
        computed = detach(computed)
        # References to the layer and its weights keep their identities valid.
        values[id(layer), name] = _Held(layer, weights, computed)
    return computed


def _is_holding() -> bool:
    return not is_compiling() and _values.get() is not None


def _are_same(first: list[Any], second: list[Any]) -> bool:
    return len(first) == len(second) and all(
        one is other for one, other in zip(first, second, strict=True)
    )
