"""Callbacks of this library around those of a user."""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import keras


def surround(
    callbacks: Any,
    before: Sequence[keras.callbacks.Callback],
    after: Callable[[list[Any]], list[Any]],
) -> Any:
    """Returns callbacks with others before and behind them.

    To a list that is in use, as that of `fit` is in a validation, they are
    added once.

    Args:
        callbacks: What Keras takes for `callbacks`: `None`, a callback, several
            of them, or a `keras.callbacks.CallbackList`.
        before: Callbacks that have their turn first.
        after: Function of the callbacks in between, that returns those that
            have their turn last: at least one, of a class that no user adds.
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
    """Whether a callback of a user may do something between batches."""
    base = keras.callbacks.Callback
    is_lambda = isinstance(callback, keras.callbacks.LambdaCallback)
    # Those of Keras and of this room only watch.
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
