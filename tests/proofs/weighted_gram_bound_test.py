import mpmath
import numpy as np
from absl.testing import parameterized

from keras_lip.proofs.weighted_gram_bound import weighted_gram_bound
from tests.lipschitz_test_case import LipschitzTestCase


class WeightedGramBoundTest(LipschitzTestCase):
    @parameterized.product(
        shape=[(1, 1), (3, 2), (2, 3), (4, 4)], scale=[1e-60, 1.0, 1e60]
    )
    def test_bound_is_just_above_the_eigenvalue(self, shape, scale):
        for _ in range(5):
            kernel = self.rng.normal(size=shape) * scale
            left = self.rng.exponential(size=shape[1])
            right = self.rng.exponential()
            bound = weighted_gram_bound(kernel, left, right)
            with mpmath.workdps(60):
                product = mpmath.matrix(kernel)
                weights = mpmath.diag([mpmath.mpf(w) * right for w in left])
                exact = max(mpmath.eigsy(product * weights * product.T)[0])
                self.assertGreaterEqual(bound, exact)
                self.assertLess(bound, exact * (1 + 1e-13))

    def test_without_factors_it_is_the_square_of_the_norm(self):
        bound = weighted_gram_bound(np.diag([3.0, 2.0]))
        self.assertBetween(bound, 9.0, 9.0 + 1e-12)

    def test_what_vanishes_is_bounded_by_next_to_nothing(self):
        bound = weighted_gram_bound(np.zeros((2, 2)), np.ones(2))
        self.assertBetween(bound, 0.0, 1e-300)
        bound = weighted_gram_bound(np.eye(2), np.zeros(2))
        self.assertBetween(bound, 0.0, 1e-300)

    @parameterized.parameters(np.inf, np.nan)
    def test_what_is_not_finite_is_not_bounded(self, value):
        self.assertEqual(
            weighted_gram_bound(np.eye(2), np.array([1.0, value])), np.inf
        )
        self.assertEqual(
            weighted_gram_bound(np.array([[value]]), np.zeros(1)), np.inf
        )
