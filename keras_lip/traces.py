"""Tests whether code or a tensor belongs to a trace of the backend.

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
    """Whether a tensor contains values, which remain valid after a trace."""
    if keras.backend.backend() == "jax":
        import jax

        return not isinstance(tensor, jax.core.Tracer)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return bool(tf.executing_eagerly()) and hasattr(tensor, "numpy")
    # Keras infers shapes on the device "meta".
    return not getattr(tensor, "is_meta", False)


def is_compiling() -> bool:
    """Whether PyTorch's compiler or exporter traces the current code."""
    if keras.backend.backend() != "torch":
        return False
    import torch

    return bool(torch.compiler.is_compiling())


def is_eager_torch(tensor: Tensor) -> bool:
    """Whether PyTorch runs operations on a tensor eagerly.

    This is false under the compiler of PyTorch, and for the symbolic tensors of
    models.
    """
    if keras.backend.backend() != "torch" or is_compiling():
        return False
    import torch

    return isinstance(tensor, torch.Tensor)


def constant(function: _F) -> _F:
    """Marks a function that creates a constant tensor with NumPy.

    PyTorch's compiler replaces NumPy functions by PyTorch functions, whose
    results cannot be converted to a Keras tensor. It calls a marked function
    once and stores the tensor.

    Args:
        function: Function of integers, tuples of integers, strings and dtypes.
            It returns one tensor that depends only on them.
    """
    if keras.backend.backend() != "torch":
        return function
    import torch

    marked = torch.compiler.assume_constant_result(function)

    # The mark is an attribute. The surrounding function must not have it.
    @functools.wraps(function, updated=())
    def make(*sizes: Any) -> Tensor:
        # The compiler cannot infer the type of the constant itself.
        return marked(*sizes).clone()

    return cast("_F", make)


def can_move(variable: Any) -> bool:
    """Whether a value computed now may be assigned to a variable.

    On JAX the body of a loop, as in `keras.layers.RNN`, is traced as a separate
    function. Values can leave it only as return values.
    """
    if keras.backend.backend() != "jax":
        return True
    return _stage(ops.zeros(())) is _stage(ops.convert_to_tensor(variable))


def _stage(tensor: Any) -> Any:
    """Returns the innermost traced function that a JAX tensor belongs to."""
    # Gradient tracers wrap the tracers of the functions that they belong to.
    while hasattr(tensor, "primal"):
        tensor = tensor.primal
    return getattr(tensor, "_trace", None)
