"""Compiles functions of variables.

This is one of the few files that branch on the backend.
"""

import collections
import threading
import weakref
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import keras

from keras_lip.traces import is_concrete

# Number of compiled functions that are kept.
_MOST_FUNCTIONS = 256


class _Shared(NamedTuple):
    """A compiled function, and the layer that it was first made for."""

    layer: weakref.ref[Any]
    function: Callable[[list[Any]], Any]


_shared: collections.OrderedDict[Any, _Shared] = collections.OrderedDict()
_shared_lock = threading.Lock()


def compile_reading(
    function: Callable[[], Any], variables: Sequence[Any]
) -> Callable[[], Any]:
    """Compiles a function that reads the current values of variables.

    On PyTorch the function is not compiled and runs without gradients.

    Args:
        function: Function without arguments. It returns a nested structure of
            tensors and assigns nothing.
        variables: All variables that the function reads.

    Returns:
        Function without arguments that returns concrete tensors.
    """
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        def run(values: list[Any]) -> Any:
            mapping = list(zip(variables, values, strict=True))
            with keras.StatelessScope(state_mapping=mapping):
                return function()

        compiled = jax.jit(run)
        return lambda: compiled([each.value for each in variables])
    if backend == "tensorflow":
        import tensorflow as tf

        traced: Callable[[], Any] = tf.function(function, autograph=False)
        return traced
    import torch

    def run_without_gradients() -> Any:
        with torch.no_grad():
            return function()

    return run_without_gradients


def constrain(layer: Any) -> Any:
    """Returns what a layer computes from its weights at inference.

    In eager execution JAX would compile each operation of the computation. Here
    it compiles the whole of it, once for all layers of one config.

    Args:
        layer: The layer. Its method `_constrain` computes a tensor or a tuple
            of tensors.
    """
    if keras.backend.backend() != "jax":
        return layer._constrain()
    values = [variable.value for variable in layer.variables]
    if not all(map(is_concrete, values)):
        return layer._constrain()
    return _find_shared(layer)(values)


def forget_functions() -> None:
    """Drops the compiled functions, which contain the code as it was."""
    with _shared_lock:
        _shared.clear()


def _find_shared(layer: Any) -> Callable[[list[Any]], Any]:
    """Returns the compiled function of layers with this config."""
    config = {k: v for k, v in layer.get_config().items() if k != "name"}
    shapes = [(tuple(each.shape), each.dtype) for each in layer.variables]
    described = repr((config, layer.get_build_config(), shapes))
    key = type(layer), type(layer)._constrain, described
    with _shared_lock:
        found = _shared.pop(key, None)
        # It may be traced again, and then needs its layer.
        if found is None or found.layer() is None:
            found = _share(layer)
        _shared[key] = found
        while len(_shared) > _MOST_FUNCTIONS:
            _shared.popitem(last=False)
    return found.function


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
