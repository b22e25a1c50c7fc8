"""Which of a backend's traces a tensor belongs to.

This is one of the few files that branch on the backend.
"""

from typing import Any

import keras
from keras import ops

from keras_lip.types import Tensor


def is_concrete(tensor: Tensor) -> bool:
    """Whether a tensor holds values, which outlive the trace of a function."""
    if keras.backend.backend() == "jax":
        import jax

        return not isinstance(tensor, jax.core.Tracer)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return bool(tf.executing_eagerly()) and hasattr(tensor, "numpy")
    return True


def can_move(variable: Any) -> bool:
    """Whether what is computed now may be assigned to a variable.

    On JAX the body of a loop, such as that of `keras.layers.RNN`, is a function
    of its own, from which no value comes out but through what it returns.
    """
    if keras.backend.backend() != "jax":
        return True
    return _stage(ops.zeros(())) is _stage(ops.convert_to_tensor(variable))


def _stage(tensor: Any) -> Any:
    """Returns the innermost function that a tensor of JAX is traced for."""
    # What is differentiated stands around what it is computed from.
    while hasattr(tensor, "primal"):
        tensor = tensor.primal
    return getattr(tensor, "_trace", None)
