"""The exponential of a skew operator, with a single weight gradient."""

from collections.abc import Callable
from typing import Any

from keras import ops

from keras_lip.linalg.operator_exponential import apply_exponential
from keras_lip.operators import LinearOperator
from keras_lip.types import Tensor


def apply_exponential_fast(
    operator: LinearOperator, kernel: Tensor, inputs: Tensor, terms: int
) -> Tensor:
    """Applies the exponential of a skew operator, with a fast gradient.

    The outputs are those of `apply_exponential`, and so is the gradient of the
    inputs: the exponential of `-A`. The gradient of the kernel is that of a
    single application of the operator, to inputs averaged along the flow,
    `u = sum A^j x / (j + 1)!`, with a gradient averaged on the way back,
    `v = sum (-A)^j g / (j + 1)!`. This replaces the mean of products of the two
    by the product of means; for `|A|` of one its cosine with the exact gradient
    is over 0.999. Both means are met on the way: a training step applies the
    operator `terms` times forward and as many times backward, and one of these
    is differentiated by the kernel. What is kept for the way back does not grow
    with the number of terms.

    Args:
        operator: A `LinearOperator` from a space to itself, skew-symmetric with
            this kernel.
        kernel: Tensor. The operator's kernel, in which it is linear.
        inputs: Tensor that `operator.matvec` takes.
        terms: Positive integer. Degree of the polynomial.

    Returns:
        Tensor of the shape of the inputs.

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
    # The one application that is differentiated, by the backend itself: what
    # follows hands it `v` for its gradient.
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
        # PyTorch passes what it saved, and the gradient by name.
        if upstream is None:
            (upstream,) = args
        mean = apply_exponential(operator, -kernel, upstream, terms, start=1)
        outer = upstream + operator.matvec(-kernel, mean)
        return outer, mean, ops.zeros_like(kernel)

    return gradient
