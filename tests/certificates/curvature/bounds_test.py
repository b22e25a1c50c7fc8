import numpy as np
from absl.testing import parameterized

from keras_lip.certificates.curvature.bounds import coarse_curvatures
from keras_lip.certificates.curvature.bounds import curvature_bound
from keras_lip.certificates.curvature.margins import norm_up
from keras_lip.proofs.matrix_norms import spectral_norm_bound
from tests.lipschitz_test_case import LipschitzTestCase


class CurvatureBoundsTest(LipschitzTestCase):
    def test_curvature_of_one_unit_is_worked_out_by_hand(self):
        # -3 softplus(4 x + 2 y) has the Hessian -3 s (1 - s) w w^T, where
        # |w|^2 = 20 and s (1 - s) is at most 1 / 4.
        kernel = np.array([[4.0], [2.0]])
        bound = curvature_bound(np.array([-3.0]), kernel)
        self.assertAllClose(bound, 15.0, 0, 1e-13)
        self.assertGreaterEqual(bound, 15.0)
        # Upward curvature does not count.
        self.assertLess(curvature_bound(np.array([3.0]), kernel), 1e-300)
        coarse = self.coarse(np.array([[-3.0], [3.0]]), kernel)
        self.assertAllClose(coarse, [15.0, 0.0], 1e-100, 1e-13)

    def coarse(self, weights, kernel):
        return coarse_curvatures(
            weights, spectral_norm_bound(kernel), norm_up(kernel, axis=0)
        )

    def test_coarse_bound_is_the_smaller_one_of_two(self):
        # Two orthogonal units of norms 2 and 1: |W|^2 max a^- / 4 is 3, or 5,
        # and sum a^- |w|^2 / 4 is 3.5, or 1.25.
        weights = np.array([[-3.0, -2.0], [0.0, -5.0]])
        coarse = self.coarse(weights, np.diag([2.0, 1.0]))
        self.assertAllClose(coarse, [3.0, 1.25], 0, 1e-13)

    @parameterized.product(
        sizes=[(3, 8), (8, 3)], scale=[1e-200, 1e-30, 1.0, 1e30]
    )
    def test_bounds_are_above_the_largest_eigenvalue(self, sizes, scale):
        kernel = self.rng.normal(size=sizes)
        weights = self.rng.normal(size=(20, sizes[1]))
        coarse = self.coarse(weights * scale, kernel)
        for row, cheap in zip(weights, coarse, strict=True):
            negative = np.maximum(-row, 0)
            exact = np.linalg.eigvalsh((kernel * negative) @ kernel.T)[-1] / 4
            bound = curvature_bound(row * scale, kernel)
            self.assertGreaterEqual(bound, exact * scale * (1 - 1e-15))
            self.assertGreaterEqual(cheap, bound * (1 - 1e-12))
            self.assertAllClose(bound / scale, exact, 1e-12, 1e-12)

    def test_hessians_are_never_more_curved(self):
        kernel = self.rng.normal(size=(4, 6))
        weights = self.rng.normal(size=6)
        bound = curvature_bound(weights, kernel)
        slopes = self.rng.uniform(size=(1000, 6))
        curves = weights * slopes * (1 - slopes)
        hessians = (kernel * curves[:, None]) @ kernel.T
        lowest = np.linalg.eigvalsh(hessians)[:, 0].min()
        self.assertGreaterEqual(lowest, -bound)

    def test_weights_that_are_not_finite_have_no_bound(self):
        kernel = np.ones((2, 2))
        self.assertEqual(
            curvature_bound([-np.inf, 1] * np.ones(2), kernel), np.inf
        )
