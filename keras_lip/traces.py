"""Which of a backend's traces a tensor belongs to.

This is one of the few files that branch on the backend.
"""

import functools
from collections.abc import Callable
from typing import Any
from typing import TypeVar
from typing import cast

import keras
from keras import ops

from keras_lip.types import Tensor

_F = TypeVar("_F", bound=Callable[..., Tensor])


def is_concrete(tensor: Tensor) -> bool:
    """Whether a tensor holds values, which outlive the trace of a function."""
    if keras.backend.backend() == "jax":
        import jax

        return not isinstance(tensor, jax.core.Tracer)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return bool(tf.executing_eagerly()) and hasattr(tensor, "numpy")
    return True


def is_compiling() -> bool:
    """Whether PyTorch's compiler, or its exporter, reads what runs now."""
    if keras.backend.backend() != "torch":
        return False
    import torch

    return bool(torch.compiler.is_compiling())


def constant(function: _F) -> _F:
    """Marks a function that makes a tensor out of sizes, by NumPy.

    PyTorch's compiler would run NumPy's functions in PyTorch, and knows no way
    from there to a tensor of Keras. It calls a marked function once, and keeps
    the tensor.

    Args:
        function: Function of integers, tuples of integers, strings and dtypes.
            It returns one tensor, which depends on nothing else.
    """
    if keras.backend.backend() != "torch":
        return function
    import torch

    marked = torch.compiler.assume_constant_result(function)

    # The mark, which is an attribute, is not for the function around it.
    @functools.wraps(function, updated=())
    def make(*sizes: Any) -> Tensor:
        # Of the constant itself the compiler cannot tell the type.
        return marked(*sizes).clone()

    return cast("_F", make)


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
