"""Inference that constrains kernels once a call, not once a batch."""

import concurrent.futures
import contextlib
import hashlib
import inspect
import threading
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lip.compiled import compile_reading
from keras_lip.held_values import Slots
from keras_lip.held_values import reading_slots
from keras_lip.layers.core.layer_stack import LayerStack
from keras_lip.layers.lipschitz_layer import find_constrained_layers
from keras_lip.models.surround import acts_on_batches
from keras_lip.models.surround import surround

# Methods that may be replaced by ones that run layers on other weights.
_METHODS = ("predict_step", "test_step", "stateless_call", "__call__", "call")

_FUNCTIONS = ("predict_function", "test_function")


class HeldInference:
    """What the layers of a model compute from their weights, for inference.

    It is computed at the start of a call, unless it is at hand for the very
    same weights, and read by compiled functions of its own: those of Keras,
    which a user may call, compute everything every time.

    One thread runs the model at a time: its functions are exchanged.

    Args:
        model: A built model.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._lock = threading.RLock()
        self.layers = find_constrained_layers([model])
        self._variables = [
            variable for layer in self.layers for variable in layer.variables
        ]
        self._compute: Callable[[], Any] | None = None
        self._slots: Slots = {}
        self._config = ""
        self._version: tuple[bytes, ...] = ()
        self._functions: dict[str, Any] = dict.fromkeys(_FUNCTIONS)
        self.is_running = False

    @property
    def variables(self) -> list[Any]:
        """The variables that hold what was computed."""
        return keras.tree.flatten(list(self._slots.values()))

    @contextlib.contextmanager
    def run(self) -> Iterator[None]:
        """Makes a context in which the model's functions read what is held."""
        with self._lock:
            if self.is_running:
                # A callback runs the model in between.
                yield
            else:
                with self._run():
                    yield

    @contextlib.contextmanager
    def _run(self) -> Iterator[None]:
        model = self._model
        theirs = {name: getattr(model, name) for name in _FUNCTIONS}
        self.refresh()
        for name, function in self._functions.items():
            setattr(model, name, function)
        self.is_running = True
        try:
            with reading_slots(self._slots):
                yield
        except BaseException:
            # What was interrupted may have taken the values with it.
            self._version = ()
            raise
        finally:
            self.is_running = False
            for name, function in theirs.items():
                self._functions[name] = getattr(model, name)
                setattr(model, name, function)

    def forget_functions(self) -> None:
        """Drops what was compiled, as the model is compiled anew.

        JAX takes up what was traced of a method again while anyone holds it.
        """
        self._functions = dict.fromkeys(_FUNCTIONS)

    def refresh(self) -> None:
        """Computes what is held, unless weights and settings are as before."""
        config = repr([layer.get_config() for layer in self.layers])
        version = _digest(self._variables)
        if (config, version) == (self._config, self._version):
            return
        if config != self._config:
            # What was compiled has the settings of before in it.
            self._compute = None
        computed = self._run_compiled()
        if not self._slots:
            self._slots.update(
                (id(layer), keras.tree.map_structure(_make_slot, values))
                for layer, values in zip(self.layers, computed, strict=True)
            )
        for slot, value in zip(
            self.variables, keras.tree.flatten(computed), strict=True
        ):
            slot.assign(value)
        self._config, self._version = config, version

    def _run_compiled(self) -> list[Any]:
        if self._compute is None:
            self._compute = compile_reading(
                lambda: [layer._constrain() for layer in self.layers],
                self._variables,
            )
        computed: list[Any] = self._compute()
        return computed


class Refresh(keras.callbacks.Callback):
    """Refreshes what is held, after all other callbacks have had their turn."""

    def __init__(self, held: HeldInference, others: list[Any]) -> None:
        super().__init__()
        self._held = held
        self._every_batch = any(map(acts_on_batches, others))

    def on_test_begin(self, logs: Any = None) -> None:
        if self._held.is_running:
            self._held.refresh()

    def on_predict_begin(self, logs: Any = None) -> None:
        self.on_test_begin()

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        if self._every_batch and self._held.is_running:
            if hasattr(self.model, "jax_state_sync"):
                self.model.jax_state_sync()
            self._held.refresh()

    def on_predict_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.on_test_batch_begin(batch)


def add_refresh(held: HeldInference, callbacks: Any) -> Any:
    """Returns callbacks with one behind them that refreshes what is held."""
    return surround(
        callbacks, before=[], after=lambda others: [Refresh(held, others)]
    )


def can_hold(model: Any) -> bool:
    """Whether what a model computes from its weights can be held.

    Replicas have variables of their own, and methods of a user's may run layers
    on other weights than their own: there, everything is computed in every
    batch.
    """
    if not model.built or keras.distribution.distribution() is not None:
        return False
    strategy = getattr(model, "distribute_strategy", None)
    if strategy is not None and strategy.num_replicas_in_sync > 1:
        return False
    return all(
        _is_known(layer, name)
        for layer in _flatten(model)
        for name in _METHODS
        if hasattr(layer, name)
    )


def _flatten(layer: Any) -> Iterator[Any]:
    """Yields all layers, with those that Keras does not know of."""
    for each in layer._flatten_layers():
        yield each
        if isinstance(each, LayerStack) and each.built:
            yield from _flatten(each._get_block())


def _is_known(layer: Any, name: str) -> bool:
    """Whether a method of a layer is that of Keras or of this library."""
    method = getattr(layer, name)
    # On an instance it may be any function, which is of no class.
    function = getattr(method, "__func__", None)
    return (
        function is not None
        and name not in vars(layer)
        and _module(function).startswith(("keras.", "keras_lip."))
    )


def _module(function: Any) -> str:
    return str(getattr(inspect.unwrap(function), "__module__", ""))


def _make_slot(value: Any) -> Any:
    return keras.Variable(
        ops.copy(value), trainable=False, autocast=False, name="held"
    )


def _digest(variables: list[Any]) -> tuple[bytes, ...]:
    arrays = [np.asarray(ops.convert_to_numpy(each)) for each in variables]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        return tuple(pool.map(_digest_array, arrays))


def _digest_array(array: Any) -> bytes:
    # Arrays of bfloat16 have no buffer but as bytes.
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return hashlib.sha256(flat.data).digest()
