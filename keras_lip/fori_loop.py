"""Loops of known length that are also compiled on TensorFlow.

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
    """Runs a loop of known length. No gradient flows through it.

    JAX compiles every loop. On TensorFlow this loop is also compiled in eager
    execution, while `keras.ops.fori_loop` runs it operation by operation.

    Args:
        iterations: Positive integer.
        step: Function of `(index, carry)` that returns the next carry. The loop
            is compiled once for each function object.
        carry: Nested structure of the initial tensors.
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
