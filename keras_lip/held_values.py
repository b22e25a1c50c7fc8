"""What layers compute from their weights, kept while the weights stay."""

import contextlib
import contextvars
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any
from typing import NamedTuple
from typing import TypeVar
from typing import cast

import keras
from keras import ops

from keras_lip.traces import is_compiling
from keras_lip.traces import is_concrete

_T = TypeVar("_T")


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


def compute_once(layer: Any, compute: Callable[[], _T]) -> _T:
    """Returns what was computed from a layer's weights, or computes it.

    Args:
        layer: The layer.
        compute: Function without arguments. What it returns depends on the
            values of the layer's weights alone: a tensor, or a tuple of them.
    """
    # PyTorch's compiler knows no context variables, and no identities.
    values = None if is_compiling() else _values.get()
    if values is None:
        return compute()
    # A layer that runs on other weights in turns computes for each of them.
    weights = [variable.value for variable in layer.variables]
    held = values.get(id(layer))
    if held is not None and _are_same(held.weights, weights):
        return cast("_T", held.computed)
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
