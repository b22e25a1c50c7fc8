import numpy as np
from absl.testing import parameterized

from keras_lip.certificates.curvature.bounds import curvature_bound
from keras_lip.certificates.curvature.certifier import closed_form_radii
from keras_lip.certificates.curvature.certifier import dual_values
from keras_lip.certificates.curvature.dual import solve_dual
from keras_lip.certificates.curvature.margins import CurvatureMargins
from keras_lip.certificates.curvature.margins import Margin
from keras_lip.program.nodes.curvature_head import CurvatureHead
from tests.certificates.true_distances import true_distances
from tests.lipschitz_test_case import LipschitzTestCase


class CurvatureCertifierTest(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        # One pair of classes, at 50 points.
        self.head = CurvatureHead(
            self.rng.normal(size=(5, 12)),
            self.rng.normal(size=12),
            self.rng.normal(size=(12, 2)),
            np.array([4.0, 0.0]),
        )
        self.margins = CurvatureMargins(self.head)
        self.x = self.rng.normal(size=(50, 5))
        labels = np.zeros(50, dtype=int)
        self.pair = self.margins.compare(labels, labels + 1)
        value = self.margins(self.x, *self.pair).value
        self.x = self.x[value > 0]
        self.pair = [array[value > 0] for array in self.pair]
        self.curvature = curvature_bound(
            self.pair[0][0], self.head.hidden_kernel
        )
        count = len(self.x)
        self.distances = true_distances(
            self.x,
            np.repeat(self.head.hidden_kernel[None], count, 0),
            np.repeat(self.head.hidden_bias[None], count, 0),
            self.pair[0][:, None],
            self.pair[1][:, None],
            self.rng,
        )

    def dual(self, steps, multipliers):
        target = self.x + steps
        return dual_values(
            target - self.x,
            multipliers,
            self.margins(target, *self.pair),
            np.full(len(steps), self.curvature),
        )

    def solve(self):
        return solve_dual(
            self.head.hidden_kernel,
            self.x @ self.head.hidden_kernel + self.head.hidden_bias,
            *self.pair,
            np.full(len(self.x), (1 - 2.0**-20) / self.curvature),
        )

    def test_dual_reaches_half_of_the_squared_distance(self):
        multipliers, steps = self.solve()
        values, exact = self.dual(steps, multipliers), self.distances**2 / 2
        self.assertTrue((values <= exact).all())
        inner = multipliers < 0.99 / self.curvature
        self.assertGreater(np.mean(inner), 0.5)
        self.assertAllClose(values[inner], exact[inner], 0, 1e-7)

    @parameterized.parameters(1e-6, 1e-2, 1.0, 100.0)
    def test_dual_stays_below_whatever_the_steps_are(self, scale):
        multipliers, steps = self.solve()
        exact = self.distances**2 / 2
        for _ in range(20):
            wrong = steps + self.rng.normal(size=steps.shape) * scale
            self.assertTrue((self.dual(wrong, multipliers) <= exact).all())
            factors = self.rng.uniform(size=len(steps))
            values = self.dual(steps, multipliers * factors)
            self.assertTrue((values <= exact).all())

    def test_multipliers_out_of_range_prove_nothing(self):
        _, steps = self.solve()
        ones = np.ones(len(steps))
        for wrong in (-1e-9, 1 / self.curvature, 2 / self.curvature, np.nan):
            self.assertTrue((self.dual(steps, wrong * ones) == -np.inf).all())

    def test_dual_of_a_linear_margin_is_worked_out_by_hand(self):
        # f = 6 - 3 s vanishes at s = 2. At eta = 1/2 and s = 3/2 the residual
        # is zero, and s^2 / 2 + eta f = 9/8 + 3/4.
        margin = Margin(np.array([1.5]), np.array([[-3.0]]), np.zeros(1))
        value = dual_values(
            np.array([[1.5]]), np.array([0.5]), margin, np.zeros(1)
        )
        self.assertAllClose(value, [1.875], 0, 1e-13)
        self.assertLessEqual(value, 1.875)
        # At s = 1 it is -1/2: s^2 / 2 + eta f - 1/8, or -1/4 if 1 - eta K is
        # 1/2, that is, if K = 1.
        margin = margin._replace(value=np.array([3.0]))
        for curvature, penalty in ((0.0, 0.125), (1.0, 0.25)):
            value = dual_values(
                np.ones((1, 1)),
                np.array([0.5]),
                margin,
                np.array([curvature]),
            )
            self.assertAllClose(value, [2 - penalty], 0, 1e-13)
        # A gradient that is off by 2 adds 1 to the residual.
        value = dual_values(
            np.ones((1, 1)),
            np.array([0.5]),
            margin._replace(gradient_error=np.full(1, 2.0)),
            np.zeros(1),
        )
        self.assertAllClose(value, [2 - 1.5**2 / 2], 0, 1e-13)

    def test_closed_form_is_the_root_of_the_quadratic(self):
        # 4 - 3 r - r^2 / 2 * 2 = 0 at r = 1; 4 - 3 r = 0 at r = 4 / 3.
        margin = Margin(
            np.full(2, 4.0), np.array([[3.0, 0.0]] * 2), np.zeros(2)
        )
        radii = closed_form_radii(margin, np.array([2.0, 0.0]))
        self.assertAllClose(radii, [1.0, 4 / 3], 0, 1e-13)
        self.assertTrue((radii <= [1.0, 4 / 3]).all())
        # A gradient that is off by 3: 4 - 6 r = 0.
        radii = closed_form_radii(
            margin._replace(gradient_error=np.full(2, 3.0)), np.zeros(2)
        )
        self.assertAllClose(radii, [2 / 3, 2 / 3], 0, 1e-13)

    def test_closed_form_is_a_lower_bound_and_less_than_the_dual(self):
        radii = closed_form_radii(
            self.margins(self.x, *self.pair),
            np.full(len(self.x), self.curvature),
        )
        self.assertTrue((radii <= self.distances).all())
        self.assertLess(np.median(radii / self.distances), 0.99)
