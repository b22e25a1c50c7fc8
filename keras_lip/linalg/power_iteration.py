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
    """Returns the start vector of all power iterations of a shape.

    Any vector works that is not orthogonal to the leading singular vector. The
    leading vector of a random kernel is not orthogonal to this one.

    Args:
        shape: Shape of the vector.
        dtype: Dtype of the vector. Defaults to `None`, for `"float32"`.

    Returns:
        Array of normal random numbers, the same on every backend.
    """
    vector = np.random.default_rng(0).normal(size=shape)
    return vector.astype(dtype or "float32")


# float32 vectors with a smaller squared norm count as zero.
_TINY = 1e-36

_Carry = tuple[Tensor, Tensor]


def power_iteration(
    operator: LinearOperator, kernel: Tensor, vector: Tensor, iterations: int
) -> tuple[Tensor, Tensor]:
    """Computes a lower estimate of an operator's norm.

    One iteration applies the operator and its adjoint. The estimate is
    differentiable with respect to the kernel. The vectors are treated as
    constants, which is correct at a fixed point.

    Args:
        operator: A `LinearOperator`.
        kernel: Tensor. The operator's kernel, in which it is linear.
        vector: Tensor that `operator.matvec` takes. The start vector.
        iterations: Positive integer.

    Returns:
        Tuple of the estimate, a scalar tensor that is at most the norm, up to
        rounding, and the last vector, with norm one, which can be the next
        start vector.

    Reference:

    - [Miyato et al., 2018](https://arxiv.org/abs/1802.05957), Algorithm 1.
    """
    # The directions do not depend on the scale of the kernel, so use a scale
    # that does not overflow if the kernel is applied twice.
    scaled = ops.stop_gradient(scale_to_one(kernel, axis=None))
    start = ops.stop_gradient(_normalize(vector))
    carry = start, scaled
    # PyTorch's compiler warns about every cache.
    make_step = _make_step if is_compiling() else _find_step
    step = make_step(operator)
    if iterations == 1:
        carry = step(0, carry)
    else:
        carry = fori_loop(iterations, step, carry)
    vector = ops.stop_gradient(carry[0])
    # Keep the direction if the kernel is zero.
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


# JAX compiles a loop again for every new function object, even in eager
# execution. The step of an operator is therefore always the same object.
_find_step = functools.cache(_make_step)


def _normalize(vector: Tensor) -> Tensor:
    # TFLite's converter interprets a tensor times the inverse square root of
    # the sum of its squares as a normalization along the last axis. Reshaping
    # the tensor before the squares prevents this.
    squares = ops.square(ops.reshape(vector, (-1,)))
    return vector * ops.rsqrt(ops.sum(squares) + _TINY)
