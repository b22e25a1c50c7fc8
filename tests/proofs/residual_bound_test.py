import itertools

import mpmath
import numpy as np
from absl.testing import parameterized

from keras_lip.proofs.residual_bound import residual_bound
from keras_lip.proofs.residual_bound import weighted_gram_bound
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


class ResidualBoundTest(LipschitzTestCase):
    def largest_norm(self, kernel, back):
        """The largest norm of the Jacobian, over all patterns of slopes."""
        rows, hidden = kernel.shape
        return max(
            np.linalg.norm(np.eye(rows) - kernel * slopes @ back.T, 2)
            for slopes in itertools.product([0.0, 1.0], repeat=hidden)
        )

    @parameterized.parameters(0.1, 1.0, 2.0, 3.0)
    def test_bound_is_that_of_the_formula_for_one_factor(self, excess):
        kernel = self.normal(4, 3).astype("float64")
        step = excess / np.linalg.norm(kernel, 2) ** 2
        bound = residual_bound(kernel, step * kernel)
        self.assertAlmostEqual(bound, max(1.0, excess - 1.0), delta=1e-9)
        self.assertGreaterEqual(bound, excess - 1.0)

    @parameterized.parameters(0.0, 1e-7, 1e-2, 1.0)
    def test_bound_is_above_the_jacobian_of_any_two_kernels(self, scale):
        for _ in range(20):
            kernel = self.rng.normal(size=(3, 4))
            back = kernel * self.rng.uniform(0.0, 0.5, size=4)
            back += scale * self.rng.normal(size=(3, 4))
            bound = residual_bound(kernel, back)
            exact = self.largest_norm(kernel, back)
            self.assertGreaterEqual(bound, exact)
            if scale < 1e-5:
                gram = kernel @ back.T
                norm = max(1.0, np.linalg.norm(gram, 2) - 1.0)
                self.assertAlmostEqual(bound, norm, delta=100 * scale + 1e-9)

    def test_way_back_that_ascends_is_bounded(self):
        kernel = self.rng.normal(size=(3, 4))
        bound = residual_bound(kernel, -0.1 * kernel)
        self.assertGreaterEqual(bound, self.largest_norm(kernel, -0.1 * kernel))
        self.assertGreater(bound, 1.1)

    def test_convolution_of_one_pixel_is_a_matrix(self):
        kernel = self.rng.normal(size=(4, 3))
        back = 0.3 * kernel + 1e-3 * self.rng.normal(size=(4, 3))
        shape = (1, 1, 4, 3)
        bound = residual_bound(kernel.reshape(shape), back.reshape(shape))
        self.assertAlmostEqual(bound, residual_bound(kernel, back), delta=1e-9)

    @parameterized.parameters(1e-30, 1e-10, 1e30)
    def test_kernels_of_any_magnitude_are_bounded(self, scale):
        kernel = self.rng.normal(size=(4, 3))
        step = 1 / np.linalg.norm(kernel, 2) ** 2
        with np.errstate(over="ignore"):
            back = step / scale * kernel
        bound = residual_bound(scale * kernel, back)
        self.assertAlmostEqual(bound, 1.0, delta=1e-9)

    def test_what_is_not_finite_has_no_bound(self):
        kernel = np.ones((2, 2))
        for value in np.nan, np.inf:
            self.assertEqual(residual_bound(kernel, value * kernel), np.inf)
            self.assertEqual(residual_bound(value * kernel, kernel), np.inf)
        self.assertEqual(residual_bound(0 * kernel, 0 * kernel), 1.0)
