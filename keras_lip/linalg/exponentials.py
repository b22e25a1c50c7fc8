"""Exponentials of skew-symmetric matrices and of operators."""

from collections.abc import Callable
from typing import Any

from keras import ops

from keras_lip.linalg.add_quotient import add_quotient
from keras_lip.operators import LinearOperator
from keras_lip.operators import adjoint_kernel
from keras_lip.types import Tensor


def skew_kernel(kernel: Tensor) -> Tensor:
    """Returns the kernel of a convolution minus its adjoint.

    The kernel of the adjoint of a convolution without strides is mirrored along
    the image axes, with inputs and outputs swapped. The result is
    skew-symmetric bit by bit, also after rounding to a narrower dtype. With
    zero or circular padding of the same width on both sides, the matrix of the
    convolution is also skew-symmetric, for images of any size.

    Args:
        kernel: Tensor of shape `(*window, channels, channels)`, with a window
            of odd sides.

    Returns:
        Tensor of the same shape.

    Reference:

    - [Singla & Feizi, 2021](https://arxiv.org/abs/2105.11417), Theorem 2
    """
    return kernel - adjoint_kernel(kernel)


# The Taylor polynomial of degree 12 maps the spectrum of a skew-symmetric
# matrix of norm at most 3.379 into the unit disc (imaginary stability interval
# of Runge-Kutta methods). Up to a norm of one, the values are within 2e-10 of
# the unit circle.
_DEGREE = 12


def skew_exponential(generator: Tensor, squarings: int) -> Tensor:
    """Computes the orthogonal exponential of a skew-symmetric matrix.

    The matrix is halved `squarings` times, exponentiated by a Taylor polynomial
    of degree 12, and squared `squarings` times. A matrix with a norm of more
    than `2^squarings` is first scaled down to this norm, so the result is
    non-expansive for any matrix.

    Args:
        generator: Tensor of shape `(..., n, n)`, skew-symmetric.
        squarings: Non-negative integer.

    Returns:
        Tensor of the same shape, orthogonal up to rounding.

    Reference:

    - [Higham, 2005](https://doi.org/10.1137/04061101X), scaling and squaring
    """
    # The largest absolute row sum bounds the norm.
    norm = ops.amax(ops.sum(ops.abs(generator), axis=-1), axis=-1)
    norm = ops.stop_gradient(norm)[..., None, None]
    generator = generator / ops.maximum(norm, 2.0**squarings)
    identity = ops.eye(generator.shape[-1], dtype=generator.dtype)
    # Horner's form: I + A (I + A/2 (I + A/3 (...))).
    result = identity + generator / _DEGREE
    for order in range(_DEGREE - 1, 0, -1):
        result = identity + ops.matmul(generator, result) / order
    for _ in range(squarings):
        result = ops.matmul(result, result)
    return result


def apply_exponential(
    operator: LinearOperator,
    kernel: Tensor,
    inputs: Tensor,
    terms: int,
    start: int = 0,
) -> Tensor:
    """Applies the Taylor polynomial of an operator's exponential.

    It uses Horner's form `x + A/1 (x + A/2 (x + ...))`, with one application of
    the operator `A` for each term after the first.

    Args:
        operator: A `LinearOperator` from a space to itself.
        kernel: Tensor. The operator's kernel, in which it is linear.
        inputs: Tensor that `operator.matvec` takes.
        terms: Non-negative integer. Degree of the polynomial.
        start: Integer from 0 to `terms`. Bracket at which the evaluation stops:
            the result is the sum of `start! A^j x / (start + j)!` for `j` up to
            `terms - start`. For 0 this is the exponential. Defaults to `0`.

    Returns:
        Tensor of the same shape as the inputs.

    Reference:

    - [Singla & Feizi, 2022](https://arxiv.org/abs/2211.08453), equation (2)
    """
    outputs = inputs
    for order in range(terms, start, -1):
        powers = operator.matvec(kernel, outputs)
        outputs = add_quotient(inputs, powers, order)
    return outputs


def apply_exponential_fast(
    operator: LinearOperator, kernel: Tensor, inputs: Tensor, terms: int
) -> Tensor:
    """Applies the exponential of a skew operator, with a fast gradient.

    The outputs and the gradient of the inputs are the same as in
    `apply_exponential`; the latter is the exponential of `-A`. The gradient of
    the kernel is computed as if the operator were applied once, to inputs
    averaged along the flow, `u = sum A^j x / (j + 1)!`, with an averaged
    upstream gradient, `v = sum (-A)^j g / (j + 1)!`. This replaces the mean of
    products by the product of means. For `|A| = 1` its cosine with the exact
    gradient is above 0.999. Both means are computed along the way: a training
    step applies the operator `terms` times forward and `terms` times backward,
    and only one application is differentiated with respect to the kernel. The
    memory for the backward pass does not grow with the number of terms.

    Args:
        operator: A `LinearOperator` from a space to itself, skew-symmetric with
            this kernel.
        kernel: Tensor. The operator's kernel, in which it is linear.
        inputs: Tensor that `operator.matvec` takes.
        terms: Positive integer. Degree of the polynomial.

    Returns:
        Tensor of the same shape as the inputs.

    Reference:

    - [Singla & Feizi, 2022](https://arxiv.org/abs/2211.08453), equations (2),
      (3) and (5)
    """
    mean = apply_exponential(
        operator,
        ops.stop_gradient(kernel),
        ops.stop_gradient(inputs),
        terms,
        start=1,
    )
    # The only application that the backend differentiates. The following
    # function gives it `v` as its upstream gradient.
    step = operator.matvec(kernel, mean)

    @ops.custom_gradient
    def add(inputs: Tensor, step: Tensor, kernel: Tensor) -> tuple[Any, Any]:
        return inputs + step, _make_gradient(operator, kernel, terms)

    return add(inputs, step, kernel)


def _make_gradient(
    operator: LinearOperator, kernel: Tensor, terms: int
) -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    def gradient(
        *args: Tensor, upstream: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        # PyTorch passes the saved tensors, and the gradient by name.
        if upstream is None:
            (upstream,) = args
        adjoint = -kernel
        mean = apply_exponential(operator, adjoint, upstream, terms, start=1)
        outer = add_quotient(upstream, operator.matvec(adjoint, mean), 1)
        return outer, mean, ops.zeros_like(kernel)

    return gradient
