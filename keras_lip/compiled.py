"""Compiles functions of variables.

This is one of the few files that branch on the backend.
"""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import keras


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
