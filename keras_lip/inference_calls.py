"""How layers learn that they are called at inference.

Keras keeps what calls inside of a call inherit in a context that is not part of
its public API. Only this file reads it.
"""

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any
from typing import NamedTuple

import keras
from keras.src.backend.common import global_state
from keras.src.layers.layer import CallContext

# Keras's name of the context.
_CONTEXT = "current_call_ctx"


class Telling(NamedTuple):
    """How layers are told that they are called at inference.

    Attributes:
        argument: Boolean. Whether a model is called with `training=False`. A
            functional model passes it on to its layers.
        context: Boolean. Whether layers inherit it that get no argument.
    """

    argument: bool = True
    context: bool = True

    @classmethod
    def of_predict(cls, model: Any) -> "Telling":
        """Returns how `predict` tells the layers of a model.

        A `call` without `training` is not told. On JAX Keras runs the `call`
        of the outermost model itself, so layers inherit nothing.
        """
        takes = takes_training(model)
        return cls(takes, takes and keras.backend.backend() != "jax")

    def inside(self, layer: Any, given: Any) -> "Telling":
        """Returns how the parts of a layer are told.

        Args:
            layer: The layer, which a model calls that is told like this.
            given: The argument `training` of the call in the model's graph.
        """
        argument = self.argument or given is False
        context = self.context or argument
        return Telling(argument and takes_training(layer), context)

    def within(self, is_recorded: bool) -> "Telling":
        """Returns how the layers of a model are told that is told like this.

        Args:
            is_recorded: Boolean. Whether Keras runs the graph of the model, and
                not a `call` of a user.
        """
        return Telling(self.argument and is_recorded, self.context)


@contextlib.contextmanager
def inference_calls(telling: Telling) -> Iterator[None]:
    """Makes a context in which layers are called as in `predict` of a model.

    Layers that are told nothing, such as `RandomContrast`, may train by
    default.

    Args:
        telling: `Telling` of the model that calls the layers.
    """
    before = global_state.get_global_attribute(_CONTEXT)
    context = CallContext(entry_layer=None)
    context.set_value("training", False if telling.context else None)
    context.set_value("telling", telling)
    global_state.set_global_attribute(_CONTEXT, context)
    try:
        yield
    finally:
        global_state.set_global_attribute(_CONTEXT, before)


def get_telling() -> Telling | None:
    """Returns the `Telling` of the context, or `None` outside of one."""
    context = global_state.get_global_attribute(_CONTEXT)
    return None if context is None else context.get_value("telling")


def takes_training(layer: Any) -> bool:
    """Whether the `call` of a layer has an argument `training`."""
    return "training" in inspect.signature(layer.call).parameters


def trains_by_default(layer: Any) -> bool:
    """Whether a layer trains unless it is told that it does not."""
    call = getattr(type(layer), "call", None)
    if call is None:
        return False
    found = inspect.signature(call).parameters.get("training")
    return found is not None and found.default is True
