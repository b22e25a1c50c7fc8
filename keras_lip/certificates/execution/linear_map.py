"""Affine maps as sums of products, in whatever order."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from keras_lip.certificates.execution import upward
from keras_lip.certificates.execution.arithmetic import HOST
from keras_lip.certificates.execution.arithmetic import Arithmetic
from keras_lip.certificates.execution.execution import Execution
from keras_lip.certificates.execution.execution import underflow_norm
from keras_lip.types import Array


class LinearMap(NamedTuple):
    """An affine map `A x + b`, and what bounds its roundings.

    Attributes:
        apply: Function of `x`, `A` and `b`, where these are `kernel` and
            `bias` or their moduli.
        kernel: Float64 array, the numbers that make up `A`.
        bias: Float64 array, or zero.
        norm: Float. Proven bound on `|A|`.
        modulus_norm: Float. Proven bound on the norm of the moduli of `A`.
        terms: Integer. Number of products, and of biases, in a sum.
    """

    apply: Callable[[Array, Array, Array | float], Array]
    kernel: Array
    bias: Array | float
    norm: float
    modulus_norm: float
    terms: int

    def magnitude(self, value: Array, arithmetic: Arithmetic) -> Array:
        """Returns the sum of moduli of each entry, to `inflation`."""
        # A weight that is flushed to zero is off by less than its modulus here.
        moduli = np.abs(self.kernel) + arithmetic.underflow
        return self.apply(np.abs(value), moduli, np.abs(self.bias))

    @property
    def inflation(self) -> float:
        """By how much a sum of moduli may exceed the one in float64."""
        return 1 + (self.terms + 4) * 2.0**-51

    @property
    def roundings(self) -> int:
        """How many roundings a product, or the bias, goes through."""
        return self.terms + 1


def apply_linear(
    inputs: Execution, linear: LinearMap, arithmetic: Arithmetic
) -> Execution:
    """Passes an execution through an affine map.

    For any order of summation, with or without fused operations, each entry is
    within `gamma(terms + 1)` times its sum of moduli `|A| |x| + |b|`, and the
    norm of that changes by `modulus_norm` times what `x` does at most.

    Reference:

    - [Higham, 2002](https://doi.org/10.1137/1.9780898718027), section 3.1
    """
    value = linear.apply(inputs.value, linear.kernel, linear.bias)
    norms = upward.sample_norms(linear.magnitude(inputs.value, arithmetic))
    return inputs.with_value(value, linear.norm).with_rounding(
        arithmetic.gamma(linear.roundings),
        HOST.gamma(linear.roundings),
        upward.add(
            upward.multiply(norms, linear.inflation),
            underflow_norm(value, linear.roundings, arithmetic),
        ),
        upward.multiply(inputs.spread, linear.modulus_norm),
        arithmetic,
    )
