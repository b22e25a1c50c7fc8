"""The weights of a head with one hidden layer, on the host."""

from typing import NamedTuple

from keras_lip.types import Array


class HeadWeights(NamedTuple):
    """Weights of `softplus(x W + b) V + c`, in float64.

    Attributes:
        hidden_kernel: Array `W` of shape `(input_dim, hidden_units)`.
        hidden_bias: Array `b` of shape `(hidden_units,)`.
        kernel: Array `V` of shape `(hidden_units, units)`.
        bias: Array `c` of shape `(units,)`.
    """

    hidden_kernel: Array
    hidden_bias: Array
    kernel: Array
    bias: Array
