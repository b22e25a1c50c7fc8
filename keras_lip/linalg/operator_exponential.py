"""The truncated exponential of a linear operator, applied to a batch."""

from keras_lip.operators import LinearOperator
from keras_lip.types import Tensor


def apply_exponential(
    operator: LinearOperator,
    kernel: Tensor,
    inputs: Tensor,
    terms: int,
    start: int = 0,
) -> Tensor:
    """Applies the Taylor polynomial of an operator's exponential.

    In Horner's form `x + A/1 (x + A/2 (x + ...))`, with one application of the
    operator `A` for each term after the first.

    Args:
        operator: A `LinearOperator` from a space to itself.
        kernel: Tensor. The operator's kernel, in which it is linear.
        inputs: Tensor that `operator.matvec` takes.
        terms: Non-negative integer. Degree of the polynomial.
        start: Integer from 0 to `terms`. Where to stop on the way out of the
            brackets: the result is the sum of `start! A^j x / (start + j)!` up
            to `j = terms - start`, which is the exponential for 0. Defaults to
            `0`.

    Returns:
        Tensor of the shape of the inputs.

    Reference:

    - [Singla & Feizi, 2022](https://arxiv.org/abs/2211.08453), equation (2)
    """
    outputs = inputs
    for order in range(terms, start, -1):
        outputs = inputs + operator.matvec(kernel, outputs) / order
    return outputs
