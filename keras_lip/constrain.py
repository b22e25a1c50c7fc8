"""Computes what a layer computes from its weights at inference.

This is one of the few files that branch on the backend.
"""

import collections
import threading
import weakref
from collections.abc import Callable
from typing import Any
from typing import NamedTuple

import keras
from keras import ops

from keras_lip.precision import in_full_precision_scope
from keras_lip.traces import is_concrete
from keras_lip.weight_digest import digest_weights

# Number of compiled functions that are kept.
_MOST_FUNCTIONS = 256

# Packages whose classes compute what their configs say.
_PACKAGES = ("keras", "keras_lip")


class _Shared(NamedTuple):
    """A compiled function, and the layer that it was first made for."""

    layer: weakref.ref[Any]
    function: Callable[[list[Any]], Any]


_shared: collections.OrderedDict[Any, _Shared] = collections.OrderedDict()
_shared_lock = threading.Lock()

# The results of the last call of each layer, and what they were computed from.
_latest: weakref.WeakKeyDictionary[Any, tuple[Any, Any]] = (
    weakref.WeakKeyDictionary()
)
_latest_lock = threading.Lock()


def constrain(layer: Any) -> Any:
    """Calls the method `_constrain` of a layer.

    In eager execution JAX would compile each operation of the method. Here it
    compiles the whole method, once for all layers of one config and one class.
    A layer with a part that users defined, such as a parametrization, runs
    uncompiled, because its config may not contain all that it computes with.

    Args:
        layer: The layer. Its method returns a tensor, a tuple of tensors or
            `None`.
    """
    if keras.backend.backend() != "jax":
        return layer._constrain()
    values = [variable.value for variable in layer.variables]
    if not has_known_parts(layer) or not all(map(is_concrete, values)):
        return layer._constrain()
    return _find_shared(layer)(values)


def constrain_again(layer: Any) -> Any:
    """Calls `_constrain`, unless nothing has changed since the last call.

    The results of each layer's last call are kept while the layer lives. They
    are those of full precision, and are used again if the weights have the same
    bits, by their SHA-256 digests, and the layer has the same config. A layer
    with a part that users defined, or that computes little, is computed every
    time.

    Args:
        layer: The layer.
    """
    values = [variable.value for variable in layer.variables]
    if not (
        layer._is_costly
        and in_full_precision_scope()
        and all(map(is_concrete, values))
        and has_known_parts(layer)
    ):
        return constrain(layer)
    places = [str(getattr(value, "device", "")) for value in values]
    key = *_describe(layer), places, digest_weights(layer.variables)
    with _latest_lock:
        latest = _latest.get(layer)
    if latest is not None and latest[0] == key:
        return latest[1]
    computed = constrain(layer)
    if can_keep(computed):
        computed = detach(computed)
        with _latest_lock:
            _latest[layer] = key, computed
    return computed


def can_keep(computed: Any) -> bool:
    """Whether results are valid after the current trace, if there is one.

    In a trace of JAX even the results of constants are symbolic.
    """
    return all(
        not ops.is_tensor(value) or is_concrete(value)
        for value in keras.tree.flatten(computed)
    )


def detach(computed: Any) -> Any:
    """Returns results through which no gradient flows."""
    return keras.tree.map_structure(
        lambda each: ops.stop_gradient(each) if ops.is_tensor(each) else each,
        computed,
    )


def forget_functions() -> None:
    """Drops compiled functions and results, which are of the code as it was."""
    with _shared_lock:
        _shared.clear()
    with _latest_lock:
        _latest.clear()


def has_known_parts(layer: Any) -> bool:
    """Whether a layer and all its parts are of Keras or of this library."""
    return _is_known(type(layer).__module__) and _describes_known_parts(
        layer.get_config()
    )


def _describes_known_parts(config: Any) -> bool:
    if isinstance(config, dict):
        if "class_name" in config and not _is_known(config.get("module")):
            return False
        return all(map(_describes_known_parts, config.values()))
    if isinstance(config, list | tuple):
        return all(map(_describes_known_parts, config))
    return True


def _is_known(module: Any) -> bool:
    return str(module).partition(".")[0] in _PACKAGES


def _find_shared(layer: Any) -> Callable[[list[Any]], Any]:
    """Returns the compiled function of layers with this config."""
    key = _describe(layer)
    with _shared_lock:
        found = _shared.pop(key, None)
        # It may be traced again, and then needs its layer.
        if found is None or found.layer() is None:
            found = _share(layer)
        _shared[key] = found
        while len(_shared) > _MOST_FUNCTIONS:
            _shared.popitem(last=False)
    return found.function


def _describe(layer: Any) -> tuple[Any, ...]:
    """Describes all that a layer computes from its weights."""
    config = {**layer.get_config(), "name": None}
    shapes = [(tuple(each.shape), each.dtype) for each in layer.variables]
    described = repr((config, layer.get_build_config(), shapes))
    return type(layer), type(layer)._constrain, described


def _share(layer: Any) -> _Shared:
    import jax

    reference = weakref.ref(layer)

    @jax.jit
    def run(values: list[Any]) -> Any:
        first: Any = reference()
        mapping = list(zip(first.variables, values, strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            return first._constrain()

    return _Shared(reference, run)
