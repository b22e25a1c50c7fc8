import math

import mpmath
import numpy as np
from absl.testing import parameterized

from keras_lip.proofs.truncated_exponential_bound import (
    truncated_exponential_bound,
)
from tests.lipschitz_test_case import LipschitzTestCase

# Radii up to which a polynomial is non-expansive, cut off after three digits.
STABLE = ((3, 1.732), (4, 2.828), (7, 1.764), (8, 3.395), (12, 3.379))


def largest_modulus(terms, radius, points=2000):
    """Returns `max |S(i t)|` on a grid, in 30 digits."""
    with mpmath.workdps(30):
        powers = [1 / mpmath.factorial(j) for j in range(terms, -1, -1)]
        return max(
            abs(mpmath.polyval(powers, 1j * mpmath.mpf(t)))
            for t in np.linspace(0, radius, points)
        )


class TruncatedExponentialBoundTest(LipschitzTestCase):
    @parameterized.parameters(*range(1, 21))
    def test_bounds_the_polynomial_tightly(self, terms):
        for radius in (1.0, 2.1, 3.4):
            bound = truncated_exponential_bound(terms, radius)
            largest = largest_modulus(terms, radius, 200)
            self.assertGreaterEqual(bound, largest)
            # What a grid of 200 points misses of a maximum in between.
            self.assertLess(bound, largest * (1 + 1e-4))

    def test_maximum_in_between_is_found(self):
        # With 5 terms `|S|` rises, falls and rises again.
        bound = truncated_exponential_bound(5, 2.5)
        largest = largest_modulus(5, 2.5)
        self.assertGreater(largest, largest_modulus(5, 2.5, 2) + 1e-3)
        self.assertGreaterEqual(bound, largest)
        self.assertLess(bound, largest * (1 + 1e-6))

    @parameterized.parameters(*STABLE)
    def test_is_one_up_to_the_limit_of_stability(self, terms, radius):
        self.assertEqual(truncated_exponential_bound(terms, radius), 1)
        self.assertGreater(truncated_exponential_bound(terms, radius + 1e-3), 1)

    @parameterized.parameters(1, 2, 5, 6, 9, 10)
    def test_other_degrees_expand_at_any_radius(self, terms):
        self.assertGreater(truncated_exponential_bound(terms, 0.1), 1)

    def test_small_excess_is_rounded_up(self):
        # `1 + t^2` is one in double precision.
        bound = truncated_exponential_bound(1, 1e-12)
        self.assertEqual(bound, math.nextafter(1, 2))

    def test_extreme_radii(self):
        self.assertEqual(truncated_exponential_bound(6, 0.0), 1)
        for radius in (1e100, math.inf, math.nan):
            self.assertEqual(truncated_exponential_bound(6, radius), math.inf)

    def test_terms_must_be_positive(self):
        with self.assertRaisesRegex(ValueError, "`terms` must be a positive"):
            truncated_exponential_bound(0, 1.0)
