"""The floating-point arithmetics that an execution may run in."""

import math
from typing import NamedTuple

import numpy as np

from keras_lip.proofs.rounding import add_up
from keras_lip.proofs.rounding import divide_up
from keras_lip.proofs.rounding import multiply_up


class Arithmetic(NamedTuple):
    """What is known of every operation of an arithmetic.

    A sum, a product, or a fused pair of them is `(1 + d)` times the exact one,
    with `|d| <= unit`, plus at most `smallest`, whether numbers below
    `smallest` are kept, as IEEE 754 has it, or are flushed to zero on the way
    in or out, as many libraries do.

    Attributes:
        dtype: `"float32"` or `"float64"`.
        unit: Float. The unit roundoff of rounding to nearest.
        smallest: Float. The smallest normal number.
        largest: Float. The largest finite number.
        is_typical: Boolean. Whether errors are those that an ordinary execution
            makes, in which roundings cancel, rather than all that are possible.
    """

    dtype: str
    unit: float
    smallest: float
    largest: float
    is_typical: bool = False

    @property
    def underflow(self) -> float:
        """What underflow adds to a magnitude, so that `unit` of it suffices."""
        return self.smallest / self.unit

    def gamma(self, roundings: int) -> float:
        """Bounds the relative error of `roundings` roundings, from above.

        Returns:
            Float. `n u / (1 - n u)`, rounded up; `inf` from a half on, so that
            no partial sum is more than twice the sum of moduli. Of a typical
            arithmetic eight times `sqrt(n) u`.

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
    """Retrieves the arithmetic of a dtype.

    Args:
        dtype: `"float32"` or `"float64"`.

    Returns:
        An `Arithmetic`.

    Raises:
        ValueError: If the dtype is another one.
    """
    if dtype not in ("float32", "float64"):
        raise ValueError(
            "Executions are certified in 'float32' and 'float64'. Half "
            "precision is not: libraries sum it in various formats. Received: "
            f"{dtype!r}"
        )
    info = np.finfo(dtype)
    return Arithmetic(
        dtype, float(info.eps) / 2, float(info.tiny), float(info.max)
    )


# What this library itself computes in.
HOST = get_arithmetic("float64")

# What a live model of float32 is expected to be off by. Keras multiplies
# float64 in float32 too, on most backends.
LIVE = get_arithmetic("float32")._replace(is_typical=True)


def constant_rate(
    number: float, roundings: int, arithmetic: Arithmetic
) -> float:
    """Bounds the relative error of products with a constant, from above.

    Some backends round a constant to float32 whatever they compute in, and
    flush it to zero if it is small.

    Args:
        number: Float. The constant.
        roundings: Integer. Number of roundings of a product.
        arithmetic: The `Arithmetic` of the products.

    Returns:
        Float, `inf` if float32 cannot hold the constant.
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
