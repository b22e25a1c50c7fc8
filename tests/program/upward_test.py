from fractions import Fraction

import numpy as np

from keras_lip.program import upward
from tests.lipschitz_test_case import LipschitzTestCase


class UpwardTest(LipschitzTestCase):
    def test_results_are_above_the_exact_ones_and_close(self):
        a, b = np.exp(self.rng.normal(size=(2, 50), scale=30))
        for sum_up, product_up, x, y in zip(
            upward.add(a, b, a), upward.multiply(a, b), a, b, strict=True
        ):
            exact = 2 * Fraction(x) + Fraction(y)
            self.assertGreaterEqual(Fraction(sum_up), exact)
            self.assertLessEqual(sum_up, float(exact) * (1 + 1e-15))
            exact = Fraction(x) * Fraction(y)
            self.assertGreaterEqual(Fraction(product_up), exact)
            self.assertLessEqual(product_up, float(exact) * (1 + 1e-15))

    def test_norms_are_above_the_exact_ones_at_any_scale(self):
        for scale in (1e-320, 1e-200, 1e-120, 1.0, 1e120, 1e200):
            x = scale * self.rng.normal(size=(8, 3, 5))
            for norm, sample in zip(
                upward.sample_norms(x), x.reshape(8, -1), strict=True
            ):
                square = sum(Fraction(value) ** 2 for value in sample)
                self.assertGreaterEqual(Fraction(norm) ** 2, square)
                # Where all are subnormal, no more than that is resolved.
                slack = 1 + 1e-12 + 1e-322 / scale
                exact = scale * np.sqrt(float(square / Fraction(scale) ** 2))
                self.assertLessEqual(norm, exact * slack)

    def test_hypot_is_that_of_each_entry(self):
        result = upward.hypot(np.array([[3.0], [5.0]]), np.array([[4.0], [12]]))
        self.assertAllClose(result, [[5.0], [13.0]], rtol=1e-14)

    def test_what_is_no_number_bounds_nothing(self):
        self.assertEqual(upward.multiply(np.zeros(1), np.inf)[0], np.inf)
        self.assertEqual(upward.add(np.ones(1), np.nan)[0], np.inf)
        bad = np.array([[np.nan, 1.0], [np.inf, 1.0], [0.0, 0.0]])
        norms = upward.sample_norms(bad)
        self.assertEqual(norms[:2].tolist(), [np.inf, np.inf])
        self.assertLess(norms[2], 1e-300)
