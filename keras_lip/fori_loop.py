"""Loops of a known length, compiled on TensorFlow as well.

This is one of the few files that branch on the backend.
"""

import functools
from collections.abc import Callable
from typing import Any

import keras
from keras import ops


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
