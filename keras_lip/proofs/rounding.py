"""Float64 arithmetic with outward rounding, so that bounds stay valid.

Functions whose names end in `_up` never return less than the exact result.
Functions whose names end in `_down` never return more. Both return the exact
result if it is a float. A number that is not finite counts as unknown: the
upper bound is then `inf`, even for `0 * inf`, because an infinite bound may
stand for a NaN weight.
"""

import math
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

UNIT_ROUNDOFF = 2.0**-53

# Computations on arrays scaled by `scale_to_unit` lose at most the smallest
# normal number 2**-1022 per operation to underflow, even if subnormals are
# flushed to zero. `UNDERFLOW` is more than the sum of all such losses.
UNDERFLOW = 2.0**-600


def up(x: float) -> float:
    """Returns the next float above `x`."""
    return math.inf if math.isnan(x) else math.nextafter(x, math.inf)


def down(x: float) -> float:
    """Returns the next float below `x`."""
    return -math.inf if math.isnan(x) else math.nextafter(x, -math.inf)


def add_up(*terms: float) -> float:
    """Returns the sum rounded up; `inf` if a term is not finite."""
    if not _all_finite(terms):
        return math.inf
    return _round_up(sum(map(_exact, terms), Fraction(0)))


def multiply_up(*factors: float) -> float:
    """Returns the product rounded up; `inf` if any factor is not finite."""
    if not _all_finite(factors):
        return math.inf
    return _round_up(math.prod(map(_exact, factors), start=Fraction(1)))


def divide_up(numerator: float, denominator: float) -> float:
    """Returns the quotient rounded up; `inf` if not finite or by zero."""
    if not _all_finite((numerator, denominator)) or denominator == 0:
        return math.inf
    return _round_up(_exact(numerator) / _exact(denominator))


def divide_down(numerator: float, denominator: float) -> float:
    """Returns the quotient rounded down; `-inf` if not finite or by zero.

    There is one exception: a non-negative number divided by an infinite bound
    is zero. So a margin divided by an unknown Lipschitz constant is zero.
    """
    if denominator == math.inf and 0 <= numerator < math.inf:
        return 0.0
    return -divide_up(-numerator, denominator)


def sqrt_up(x: float) -> float:
    """Returns the square root rounded up; `inf` if `x` is not finite."""
    if not math.isfinite(x):
        return math.inf
    return _raise_to_root(math.sqrt(x), _exact(x))


def hypot_up(*terms: float) -> float:
    """Returns the Euclidean norm rounded up; `inf` if not finite."""
    if not _all_finite(terms):
        return math.inf
    squares = sum((_exact(term) ** 2 for term in terms), Fraction(0))
    return _raise_to_root(math.hypot(*terms), squares)


def add_down(*terms: float) -> float:
    """Returns the sum rounded down; `-inf` if a term is not finite."""
    return -add_up(*(-term for term in terms))


def multiply_down(*factors: float) -> float:
    """Returns the product rounded down; `-inf` if any is not finite."""
    return -multiply_up(-1.0, *factors)


def sqrt_down(x: float) -> float:
    """Returns the square root rounded down; zero if `x` is negative.

    It is `-inf` if `x` is not finite.
    """
    if not math.isfinite(x):
        return -math.inf
    if x <= 0:
        return 0.0
    return _lower_to_root(math.sqrt(x), _exact(x))


def hypot_down(*terms: float) -> float:
    """Returns the Euclidean norm rounded down; `-inf` if not finite."""
    if not _all_finite(terms):
        return -math.inf
    squares = sum((_exact(term) ** 2 for term in terms), Fraction(0))
    root = min(math.hypot(*terms), float(np.finfo(np.float64).max))
    return _lower_to_root(root, squares)


def gamma(n: int) -> float:
    """Returns an upper bound on the relative error of `n` roundings.

    The error of a sum of `n` products is at most `gamma(n)` times the sum of
    their absolute values, for any order of summation, with or without fused
    operations.

    Args:
        n: Integer. Number of roundings, such that `n * 2**-53 < 1`.

    Returns:
        Float. `n * u / (1 - n * u)` with `u = 2**-53`, rounded up.

    Reference:

    - [Higham, 2002](https://doi.org/10.1137/1.9780898718027), Lemma 3.1.
    """
    if not 0 <= n < 2**53:
        raise ValueError(
            "`n` must be between 0 and 2**53, where the bound holds. "
            f"Received: n={n}"
        )
    return _round_up(Fraction(n, 2**53 - n))


def inflate_up(x: float, n: int) -> float:
    """Bounds a non-negative quantity that was computed with `n` roundings.

    Args:
        x: Float. The computed value. It must be at least `1 - gamma(n)` times
            the exact value, as for a sum of non-negative terms.
        n: Integer. Number of roundings.

    Returns:
        Float. An upper bound on the exact value.
    """
    # 1 / (1 - gamma(n)) = 1 + n u / (1 - 2 n u) <= 1 + gamma(2 n).
    return multiply_up(x, add_up(1.0, gamma(2 * n)))


def frobenius_norm_up(matrices: npt.NDArray[Any]) -> float:
    """Computes an upper bound on the largest Frobenius norm of a batch.

    Args:
        matrices: Real or complex array of shape `(..., rows, columns)`, scaled
            by `scale_to_unit`.
    """
    parts = [matrices.real, matrices.imag][: 1 + np.iscomplexobj(matrices)]
    # No array of squares: its memory may take longer than the sums.
    squares = sum(np.einsum("...ij,...ij->...", part, part) for part in parts)
    largest = float(np.max(squares, initial=0.0))
    terms = 2 * matrices.shape[-2] * matrices.shape[-1]
    return sqrt_up(add_up(inflate_up(largest, terms), UNDERFLOW))


def product_error_up(
    left_norm: float, right_norm: float, terms: int, is_complex: bool
) -> float:
    """Computes an upper bound on the rounding error of a matrix product.

    The bound holds for any order of summation. It does not hold for Strassen's
    algorithm, which BLAS libraries do not use.

    Args:
        left_norm: Float. Frobenius norm of the left matrix.
        right_norm: Float. Frobenius norm of the right matrix.
        terms: Integer. Number of products summed in each entry.
        is_complex: Boolean. Whether the matrices are complex.

    Returns:
        Float. An upper bound on the Frobenius norm of the computed product
        minus the exact product.

    Reference:

    - [Higham, 2002](https://doi.org/10.1137/1.9780898718027), equation (3.13).
    """
    # The error of an entry is at most `gamma(terms) * sum |a| |b|`, and the
    # norm of the product of the moduli is at most the product of the norms. In
    # complex arithmetic, the real and the imaginary part each sum `2 * terms`
    # products, so the error of the modulus is `sqrt(2) * gamma(2 * terms)`.
    # With three real products instead of four, it is `sqrt(10) * gamma(terms +
    # 5)`. Twice `gamma(2 * terms + 10)` covers both.
    error = gamma(terms)
    if is_complex:
        error = multiply_up(2.0, gamma(2 * terms + 10))
    return add_up(multiply_up(error, left_norm, right_norm), UNDERFLOW)


def scale_to_unit(
    array: npt.NDArray[Any],
) -> tuple[npt.NDArray[Any], float]:
    """Divides by a power of two, unless the largest part is moderate.

    The largest part of the result is in `[1, 2)`. If it is in `[2^-32, 2^32)`
    from the start, the array is returned unchanged, which saves a copy. The
    division is exact, except for underflow.

    Args:
        array: Float64 or complex128 array of finite numbers, not all zero.

    Returns:
        The scaled array, and the power of two as a float.
    """
    parts = [array.real, array.imag] if np.iscomplexobj(array) else [array]
    largest = max(max(np.max(part), -np.min(part)) for part in parts)
    exponent = math.frexp(largest)[1] - 1
    if -32 <= exponent < 32:
        return array, 1.0
    # In two steps, because 2**1074 is not a float.
    half = exponent // 2
    scaled = array * 2.0**-half
    scaled *= 2.0 ** (half - exponent)
    return scaled, 2.0**exponent


def _exact(x: float) -> Fraction:
    return Fraction(float(x))


def _all_finite(numbers: tuple[float, ...]) -> bool:
    return all(math.isfinite(number) for number in numbers)


def _round_up(exact: Fraction) -> float:
    try:
        nearest = float(exact)
    except OverflowError:
        return math.inf if exact > 0 else -float(np.finfo(np.float64).max)
    return nearest if Fraction(nearest) >= exact else up(nearest)


def _raise_to_root(root: float, square: Fraction) -> float:
    while math.isfinite(root) and Fraction(root) ** 2 < square:
        root = up(root)
    return root


def _lower_to_root(root: float, square: Fraction) -> float:
    while root > 0 and Fraction(root) ** 2 > square:
        root = down(root)
    return root
