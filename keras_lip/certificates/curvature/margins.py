"""Margins of a curvature head, with gradients and rounding errors."""

from typing import NamedTuple

import numpy as np

from keras_lip.program.nodes.curvature_head import CurvatureHead
from keras_lip.proofs.rounding import gamma
from keras_lip.types import Array

# Upper bound on the underflow error of a sum of products of moderate numbers.
_UNDERFLOW = 2.0**-600

# Smaller weights are replaced by this value in error bounds, so that underflow
# in their products is within the relative error.
_TINY = 2.0**-900


class Margin(NamedTuple):
    """Margins at some points, with gradients and error bounds.

    Attributes:
        value: Array of shape `(...)`. Lower bounds on the margins.
        gradient: Array of shape `(..., input_dim)`. Their gradients.
        gradient_error: Array of shape `(...)`. Upper bounds on the l2 norms of
            the gradients' errors.
    """

    value: Array
    gradient: Array
    gradient_error: Array


class CurvatureMargins:
    """Evaluates the margins between the classes of a head.

    The margin of a class over another is `f(x) = a^T softplus(W^T x + b) + c`,
    where `a` is the difference of their columns of the outer kernel. It is
    evaluated in float64 with bounds on its rounding errors.

    The functions `exp` and `log1p` of NumPy are assumed to be accurate to 16
    units in the last place, several times the error of all known
    implementations. Everything else is proven.

    Args:
        head: `CurvatureHead` of at least two classes.
    """

    def __init__(self, head: CurvatureHead) -> None:
        self.head = head
        input_dim, hidden_units = head.hidden_kernel.shape
        # Let `t = |w_j| |x| + |b_j|`, which bounds the sum of absolute values
        # in hidden unit `j`, and `g_n = gamma(n)`. The error of the unit is at
        # most `g_(d+1) t`. Its softplus is at most `t + 1` and has a slope of
        # at most 1, so its error is at most `g_(d+1) t + g_40 (t + 1)`. Its
        # sigmoid has a slope of at most 1/4, so its error is at most `g_(d+1) t
        # / 4 + g_40`. The weighted sums over the units add `g_(m+3)`. Doubling
        # the number of roundings covers the rounding of the bound itself and
        # all products of two errors.
        self.error = gamma(2 * (input_dim + hidden_units + 64))
        norms = norm_up(head.hidden_kernel, axis=0)
        biases = np.abs(head.hidden_bias)
        self._moments = np.stack(
            [
                norms,
                biases + 1.0,
                norms + norms * biases / 4,
                np.square(norms) / 4,
            ],
            axis=1,
        )

    def compare(self, labels: Array, others: Array) -> tuple[Array, Array]:
        """Returns the outer weights `a` and `c` of margins.

        Args:
            labels: Integer array of shape `(...)`.
            others: Integer array that broadcasts with `labels`.

        Returns:
            Arrays of shape `(..., hidden_units)` and `(...)`, off by one
            rounding.
        """
        columns, bias = self.head.kernel.T, self.head.bias
        return columns[labels] - columns[others], bias[labels] - bias[others]

    def __call__(self, x: Array, weights: Array, offsets: Array) -> Margin:
        """Evaluates margins.

        Args:
            x: Array of shape `(..., input_dim)`.
            weights: Array `a` of shape `(..., hidden_units)`.
            offsets: Array `c` of shape `(...)`.

        Returns:
            `Margin`. Non-finite entries are unknown.
        """
        kernel = self.head.hidden_kernel
        hidden = x @ kernel + self.head.hidden_bias
        values = np.sum(weights * np.logaddexp(0.0, hidden), axis=-1) + offsets
        gradients = (weights * sigmoid(hidden)) @ kernel.T
        sizes = norm_up(x)
        weighted = (np.abs(weights) + _TINY) @ self._moments
        norms, biases, constants, squares = np.moveaxis(weighted, -1, 0)
        magnitudes = sizes * norms + biases + np.abs(offsets)
        errors = self.error * magnitudes + _UNDERFLOW
        slopes = constants + sizes * squares
        return Margin(
            values - errors, gradients, self.error * slopes + _UNDERFLOW
        )


def norm_up(vectors: Array, axis: int = -1) -> Array:
    """Returns upper bounds on l2 norms along one axis."""
    slack = 1 + 4 * gamma(vectors.shape[axis] + 4)
    squares = np.sum(np.square(vectors), axis=axis)
    return np.sqrt(squares + _UNDERFLOW) * slack


def sigmoid(x: Array) -> Array:
    """Returns `1 / (1 + exp(-x))`, without overflow."""
    power = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, power) / (1 + power)
