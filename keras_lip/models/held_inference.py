"""Inference that computes constrained kernels once per call, not per batch."""

import contextlib
import threading
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from keras_lip.compiled import compile_reading
from keras_lip.constrain import has_known_parts
from keras_lip.graph import has_own_method
from keras_lip.held_values import Slots
from keras_lip.held_values import reading_slots
from keras_lip.layers.core.layer_stack import LayerStack
from keras_lip.layers.lipschitz_layer import find_constrained_layers
from keras_lip.models.surround import acts_on_batches
from keras_lip.models.surround import surround
from keras_lip.weight_digest import digest_weights

# If a user overrides these methods, layers may run with other weights.
_METHODS = ("predict_step", "test_step", "stateless_call", "__call__", "call")

_FUNCTIONS = ("predict_function", "test_function")


class HeldInference:
    """Stores the values that layers compute from their weights at inference.

    The values are computed at the start of a call, unless they are already
    stored for the same weights. Separate compiled functions read them. The
    compiled functions of Keras, which users may call, compute the values every
    time.

    Only one thread runs the model at a time, because its compiled functions are
    replaced during a call.

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
        # If a config may lack a number that a value depends on, the values are
        # computed every time, by functions that contain no old number.
        self._is_described = all(map(has_known_parts, self.layers))
        self._compute: Callable[[], Any] | None = None
        self._slots: Slots = {}
        self._config = ""
        self._version: tuple[bytes, ...] = ()
        self._functions: dict[str, Any] = dict.fromkeys(_FUNCTIONS)
        self.is_running = False

    @property
    def variables(self) -> list[Any]:
        """The variables that hold the stored values."""
        return keras.tree.flatten(list(self._slots.values()))

    @contextlib.contextmanager
    def run(self) -> Iterator[None]:
        """Makes a context in which the model's functions read stored values."""
        with self._lock:
            if self.is_running:
                # A callback runs the model during a call.
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
            # The interrupted function may have lost the values.
            self._version = ()
            raise
        finally:
            self.is_running = False
            for name, function in theirs.items():
                self._functions[name] = getattr(model, name)
                setattr(model, name, function)

    def forget_functions(self) -> None:
        """Drops compiled functions, because the model is compiled again.

        JAX reuses the trace of a method as long as a reference to it exists.
        """
        self._functions = dict.fromkeys(_FUNCTIONS)

    def refresh(self) -> None:
        """Computes the values, unless weights and configs are unchanged."""
        config = repr([layer.get_config() for layer in self.layers])
        version = digest_weights(self._variables)
        is_same = (config, version) == (self._config, self._version)
        if is_same and self._is_described:
            return
        if config != self._config or not self._is_described:
            # The compiled function contains the old configs.
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
    """Refreshes the stored values, after all other callbacks have run."""

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
    """Appends a callback that refreshes the stored values."""
    return surround(
        callbacks, before=[], after=lambda others: [Refresh(held, others)]
    )


def can_hold(model: Any) -> bool:
    """Whether values that a model computes from its weights can be stored.

    They cannot if the model has replicas, which have their own variables, or
    methods defined by users, which may run layers with other weights. Then
    every batch computes the values.
    """
    if not model.built or keras.distribution.distribution() is not None:
        return False
    strategy = getattr(model, "distribute_strategy", None)
    if strategy is not None and strategy.num_replicas_in_sync > 1:
        return False
    return not any(
        has_own_method(layer, name)
        for layer in _flatten(model)
        for name in _METHODS
    )


def _flatten(layer: Any) -> Iterator[Any]:
    """Yields all layers, including layers that Keras does not track."""
    for each in layer._flatten_layers():
        yield each
        if isinstance(each, LayerStack) and each.built:
            yield from _flatten(each._get_block())


def _make_slot(value: Any) -> Any:
    return keras.Variable(
        ops.copy(value),
        trainable=False,
        autocast=False,
        aggregation="only_first_replica",
        name="held",
    )
