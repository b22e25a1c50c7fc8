"""Keeps the weights of a model when a call of it fails on JAX."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras


def is_missing(variable: Any) -> bool:
    """Whether Keras has taken a variable's value, to pass it to a step of JAX.

    It does so for as long as a model trains, evaluates or predicts. A
    `keras.StatelessScope` puts the values back for a step.
    """
    if keras.backend.backend() != "jax":
        return False
    try:
        # There is no other way to ask.
        _ = variable.value
    except TypeError:
        return True
    return False


@contextlib.contextmanager
def keeping_weights(model: Any) -> Iterator[None]:
    """Makes a context that puts the values of variables back after an error.

    Keras loses them if a step raises an error, such as for inputs of a wrong
    shape.

    Args:
        model: The model that is called in the context.
    """
    if keras.backend.backend() != "jax":
        yield
        return
    optimizer = getattr(model, "optimizer", None)
    variables = [
        *model.variables,
        *model.metrics_variables,
        *(optimizer.variables if optimizer is not None else ()),
    ]
    # These are references, which do not hold the memory of donated arrays.
    kept = [(each, each.value) for each in variables if not is_missing(each)]
    try:
        yield
    except BaseException:
        lost = [(each, value) for each, value in kept if is_missing(each)]
        if any(value.is_deleted() for _, value in lost):
            # Steps have run before, and Keras has their results.
            model.jax_state_sync()
        for variable, value in lost:
            if is_missing(variable) and not value.is_deleted():
                variable.assign(value)
        raise
