"""Exact bound on the truncated exponential of a skew-symmetric operator."""

import math
from fractions import Fraction

from keras_lip.proofs.method_notes import note_method
from keras_lip.proofs.rounding import sqrt_up
from keras_lip.proofs.rounding import up
from keras_lip.validation import check_positive_integer

# Number of halvings of the interval that is searched for the maximum. Each one
# divides the gap between the largest known value and the bound by four.
_HALVINGS = 14


def truncated_exponential_bound(terms: int, radius: float) -> float:
    """Bounds the norm of the Taylor polynomial `S` of a skew exponential.

    A skew-symmetric operator `A` is normal. Its spectrum consists of numbers `i
    t` with real `t` and `|t| <= |A|`. So the norm of `S(A)` is at most the
    largest `|S(i t)|` for `t` up to `radius`. This bound is optimal if the
    spectrum is not known. It is one up to a radius of 1.732 for 3 terms, 2.828
    for 4, 1.764 for 7, 3.395 for 8, 1.701 for 11, 3.379 for 12 and 3.324 for
    16, and more than one at any radius for 1, 2, 5, 6, 9, 10, 13, 14 terms.

    `|S(i t)|^2` is a polynomial in `t^2`. It is at most the largest of its
    coefficients in the Bernstein basis. These coefficients are computed as
    exact fractions, on smaller and smaller intervals.

    Args:
        terms: Positive integer. Degree of the polynomial, which equals the
            number of its terms after the first.
        radius: Float. An upper bound on the norm of `A`.

    Returns:
        Float. The bound, at least one. It exceeds the exact maximum by a
        relative error of about 1e-8. It is `inf` if the radius is not finite.

    Example:

    >>> truncated_exponential_bound(4, 2.8)
    1.0

    Reference:

    - [Singla & Feizi, 2021](https://arxiv.org/abs/2105.11417), Theorem 3, for
      the larger bound `1 + radius^(terms + 1) / (terms + 1)!`
    """
    note_method("truncated exponential")
    check_positive_integer("terms", terms)
    if not math.isfinite(radius):
        return math.inf
    coefficients = _bernstein_coefficients(terms, Fraction(radius) ** 2)
    largest = _bound_maximum(coefficients)
    try:
        squared = float(largest)
    except OverflowError:
        return math.inf
    return sqrt_up(squared if Fraction(squared) >= largest else up(squared))


def _bernstein_coefficients(terms: int, end: Fraction) -> list[Fraction]:
    """Returns the coefficients of `|S(i sqrt(x))|^2` for `0 <= x <= end`."""
    powers = []
    for degree in range(terms + 1):
        # The coefficient of `S(i t) S(-i t)` at `t^(2 degree)`.
        first = max(0, 2 * degree - terms)
        pairs = range(first, 2 * degree - first + 1)
        powers.append(
            end**degree
            * sum(
                Fraction(
                    (-1) ** (degree + j),
                    math.factorial(j) * math.factorial(2 * degree - j),
                )
                for j in pairs
            )
        )
    return [
        sum(
            (
                Fraction(math.comb(i, j), math.comb(terms, j)) * powers[j]
                for j in range(i + 1)
            ),
            Fraction(0),
        )
        for i in range(terms + 1)
    ]


def _bound_maximum(coefficients: list[Fraction]) -> Fraction:
    """Bounds a polynomial by its coefficients in the Bernstein basis."""
    # The first and the last coefficient are the values at the ends.
    reached = max(coefficients[0], coefficients[-1])
    pieces = [coefficients]
    for _ in range(_HALVINGS):
        pieces = [piece for piece in pieces if max(piece) > reached]
        pieces = [half for piece in pieces for half in _halve(piece)]
        reached = max([reached, *(piece[-1] for piece in pieces)])
    return max([reached, *map(max, pieces)])


def _halve(
    coefficients: list[Fraction],
) -> tuple[list[Fraction], list[Fraction]]:
    """Returns the coefficients on both halves, by de Casteljau's algorithm."""
    left, right = [], []
    while coefficients:
        left.append(coefficients[0])
        right.append(coefficients[-1])
        coefficients = [
            (a + b) / 2
            for a, b in zip(coefficients, coefficients[1:], strict=False)
        ]
    return left, right[::-1]
