"""Functions of variables, and loops, compiled by the backend.

This is one of the few files that branch on the backend.
"""

import functools
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


def compile_reading(
    function: Callable[[], Any], variables: Sequence[Any]
) -> Callable[[], Any]:
    """Compiles a function that reads variables, at their values of each call.

    On PyTorch it runs as it is, without gradients.

    Args:
        function: Function without arguments. It returns tensors in any nesting
            and assigns nothing.
        variables: All variables that it reads.

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


def fori_loop(
    iterations: int, step: Callable[[Any, Any], Any], carry: Any
) -> Any:
    """Runs a loop of a known length, through which no gradient flows.

    JAX compiles every loop. On TensorFlow this one is compiled outside of
    functions as well, where `keras.ops.fori_loop` runs it operation by
    operation.

    Args:
        iterations: Positive integer.
        step: Function of `(index, carry)` that returns the next carry. A loop
            is compiled for each function object.
        carry: Tensors to start from, in any nesting.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        if tf.executing_eagerly():
            return _compile_loop(step, iterations)(carry)
    return ops.fori_loop(0, iterations, step, carry)


@functools.cache
def _compile_loop(
    step: Callable[[Any, Any], Any], iterations: int
) -> Callable[[Any], Any]:
    import tensorflow as tf

    def run(carry: Any) -> Any:
        return ops.fori_loop(0, iterations, step, carry)

    compiled: Callable[[Any], Any] = tf.function(run, autograph=False)
    return compiled
