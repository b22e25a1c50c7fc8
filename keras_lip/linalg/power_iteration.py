"""The power method on a linear operator."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from keras_lip.fori_loop import fori_loop
from keras_lip.linalg.rescaling import scale_to_one
from keras_lip.operators import LinearOperator
from keras_lip.traces import is_compiling
from keras_lip.types import Array
from keras_lip.types import Tensor


def start_vector(shape: tuple[int, ...], dtype: Any = None) -> Array:
    """Returns the vector that every power iteration of a shape starts from.

    Any vector will do that is not orthogonal to the leading one, and no kernel
    that is drawn at random has a leading vector orthogonal to this one.

    Args:
        shape: Shape of the vector.
        dtype: Dtype of the vector. Defaults to `None`, for `"float32"`.

    Returns:
        Array of normal random numbers, the same on every backend.
    """
    vector = np.random.default_rng(0).normal(size=shape)
    return vector.astype(dtype or "float32")


# The squared norm under which a float32 vector counts as zero.
_TINY = 1e-36

_Carry = tuple[Tensor, Tensor]


def power_iteration(
    operator: LinearOperator, kernel: Tensor, vector: Tensor, iterations: int
) -> tuple[Tensor, Tensor]:
    """Estimates an operator's norm from below.

    One iteration applies the operator and its adjoint. The estimate is
    differentiable with respect to the kernel; the vectors are not, as is right
    at a fixed point.

    Args:
        operator: A `LinearOperator`.
        kernel: Tensor. The operator's kernel, in which it is linear.
        vector: Tensor that `operator.matvec` takes. Where to start.
        iterations: Positive integer.

    Returns:
        Tuple of the estimate, a scalar tensor that never exceeds the norm but
        for rounding, and the last vector, of norm one, to start from next time.

    Reference:

    - [Miyato et al., 2018](https://arxiv.org/abs/1802.05957), Algorithm 1.
    """
    # The directions are those of any multiple of the kernel: of one that does
    # not overflow when it is applied twice.
    scaled = ops.stop_gradient(scale_to_one(kernel, axis=None))
    start = ops.stop_gradient(_normalize(vector))
    carry = start, scaled
    # PyTorch's compiler warns of every cache.
    make_step = _make_step if is_compiling() else _find_step
    step = make_step(operator)
    if iterations == 1:
        carry = step(0, carry)
    else:
        carry = fori_loop(iterations, step, carry)
    vector = ops.stop_gradient(carry[0])
    # A kernel that vanishes must not take the direction with it.
    vanished = ops.sum(ops.square(vector)) < 0.5
    vector = ops.where(vanished, start, vector)
    image = operator.matvec(kernel, vector)
    direction = ops.stop_gradient(_normalize(scale_to_one(image, axis=None)))
    return ops.sum(ops.multiply(image, direction)), vector


def _make_step(operator: LinearOperator) -> Callable[[Tensor, _Carry], _Carry]:
    def step(_: Tensor, carry: _Carry) -> _Carry:
        vector, kernel = carry
        image = operator.adjoint(kernel, operator.matvec(kernel, vector))
        return _normalize(image), kernel

    return step


# JAX compiles a loop anew for every function that it has not met, even where
# nothing is traced. The step of an operator is therefore always the same one.
_find_step = functools.cache(_make_step)


def _normalize(vector: Tensor) -> Tensor:
    # TFLite's converter takes a tensor times the inverse root of the sum of its
    # own squares for one that is normalized along its last axis. Of another
    # shape they are the squares of another tensor.
    squares = ops.square(ops.reshape(vector, (-1,)))
    return vector * ops.rsqrt(ops.sum(squares) + _TINY)
