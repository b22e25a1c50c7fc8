"""The floating-point arithmetics of executions."""

import math
from typing import NamedTuple

import numpy as np

from keras_lip.proofs.rounding import add_up
from keras_lip.proofs.rounding import divide_up
from keras_lip.proofs.rounding import multiply_up


class Arithmetic(NamedTuple):
    """Error bounds for the operations of a floating-point arithmetic.

    The result of a sum, a product, or a fused pair of them is `(1 + d)` times
    the exact one, with `|d| <= unit`, plus an error of at most `smallest`. This
    holds if numbers below `smallest` are kept, as in IEEE 754, and if inputs or
    outputs are flushed to zero, as in many libraries.

    Attributes:
        dtype: `"float32"` or `"float64"`.
        unit: Float. The unit roundoff of rounding to nearest.
        smallest: Float. The smallest normal number.
        largest: Float. The largest finite number.
        is_typical: Boolean. Whether errors are typical errors, in which
            roundings cancel, instead of worst-case errors.
    """

    dtype: str
    unit: float
    smallest: float
    largest: float
    is_typical: bool = False

    @property
    def underflow(self) -> float:
        """Amount added to a sum of absolute values to cover underflow."""
        return self.smallest / self.unit

    def gamma(self, roundings: int) -> float:
        """Returns an upper bound on the relative error of several roundings.

        Returns:
            Float. `n u / (1 - n u)`, rounded up, or `inf` if `n u` is at least
            one half, so that partial sums are at most twice the sum of absolute
            values. For a typical arithmetic it is `8 sqrt(n) u`.

        Reference:

        - [Higham, 2002](https://doi.org/10.1137/1.9780898718027), Lemma 3.1
        - [Higham & Mary, 2019](https://doi.org/10.1137/18M1226312), for what is
          typical
        """
        if self.is_typical:
            return 8 * math.sqrt(roundings) * self.unit
        total = multiply_up(float(roundings), self.unit)
        return divide_up(total, 1 - total) if total <= 0.25 else math.inf


def get_arithmetic(dtype: str) -> Arithmetic:
    """Returns the arithmetic of a dtype.

    Args:
        dtype: `"float32"` or `"float64"`.

    Returns:
        An `Arithmetic`.

    Raises:
        ValueError: If the dtype is unknown.
    """
    if dtype not in ("float32", "float64"):
        raise ValueError(
            "Executions are certified in 'float32' and 'float64'. Half "
            "precision is not supported, because libraries sum it in different "
            f"formats. Received: {dtype!r}"
        )
    info = np.finfo(dtype)
    return Arithmetic(
        dtype, float(info.eps) / 2, float(info.tiny), float(info.max)
    )


# The arithmetic of this library's own computations.
HOST = get_arithmetic("float64")

# The expected errors of a live float32 model. On most backends Keras also
# multiplies float64 in float32.
LIVE = get_arithmetic("float32")._replace(is_typical=True)


def constant_rate(
    number: float, roundings: int, arithmetic: Arithmetic
) -> float:
    """Returns an upper bound on the relative error of products with a constant.

    Some backends round constants to float32 in all dtypes, and flush small
    constants to zero.

    Args:
        number: Float. The constant.
        roundings: Integer. Number of roundings of a product.
        arithmetic: The `Arithmetic` of the products.

    Returns:
        Float, or `inf` if float32 cannot represent the constant.
    """
    with np.errstate(over="ignore"):
        single = float(np.float32(number))
    if not math.isfinite(single):
        return math.inf
    error = 0.0 if single == number else 2.0**-23
    if 0 < abs(number) and abs(single) < float(np.finfo("float32").tiny):
        error = 1.0
    gamma = arithmetic.gamma(roundings)
    return add_up(gamma, error, multiply_up(gamma, error))
