"""Adds callbacks of this library before and after a user's callbacks."""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import keras


def surround(
    callbacks: Any,
    before: Sequence[keras.callbacks.Callback],
    after: Callable[[list[Any]], list[Any]],
) -> Any:
    """Returns callbacks with others before and after them.

    They are added only once to a list that is already in use, such as the list
    of `fit` during validation.

    Args:
        callbacks: An argument `callbacks` of Keras: `None`, a callback, several
            callbacks, or a `keras.callbacks.CallbackList`.
        before: Callbacks that run first.
        after: Function from the user's callbacks to the callbacks that run
            last. It returns at least one, of a class that users do not add.
    """
    if not isinstance(callbacks, keras.callbacks.CallbackList):
        listed = [] if callbacks is None else keras.tree.flatten(callbacks)
        return [*before, *listed, *after(listed)]
    inner = callbacks.callbacks
    last = after(list(inner))
    if not any(type(each) is type(last[0]) for each in inner):
        for each in (*before, *last):
            each.set_model(callbacks.model)
        inner[:] = [*before, *inner, *last]
    return callbacks


def acts_on_batches(callback: Any) -> bool:
    """Whether a user's callback may act between batches."""
    base = keras.callbacks.Callback
    is_lambda = isinstance(callback, keras.callbacks.LambdaCallback)
    # Callbacks of Keras and of `keras_lip.models` only observe.
    own = ("keras.", "keras_lip.models.")
    if type(callback).__module__.startswith(own) and not is_lambda:
        return False
    return any(
        getattr(getattr(callback, name), "__func__", None)
        is not getattr(base, name)
        for name in (
            "on_test_batch_begin",
            "on_test_batch_end",
            "on_predict_batch_begin",
            "on_predict_batch_end",
        )
    )
