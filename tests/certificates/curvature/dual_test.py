import numpy as np

from keras_lip.certificates.curvature.dual import solve_dual
from tests.lipschitz_test_case import LipschitzTestCase


class CurvatureDualTest(LipschitzTestCase):
    def test_linear_margin_is_solved_by_hand(self):
        # softplus(h) - softplus(-h) = h, so that f = 5 + 3 s_1 + 4 s_2.
        multiplier, step = solve_dual(
            np.array([[3.0, -3.0], [4.0, -4.0]]),
            np.array([[5.0, -5.0]]),
            np.array([[1.0, -1.0]]),
            np.zeros(1),
            np.full(1, 1e3),
        )
        self.assertAllClose(multiplier, [0.2], 0, 1e-9)
        self.assertAllClose(step, [[-0.6, -0.8]], 0, 1e-9)

    def test_multiplier_stays_within_its_limit(self):
        # f = 5 - softplus(s) would need a larger one: f is not reached.
        multiplier, step = solve_dual(
            np.ones((1, 1)),
            np.zeros((1, 1)),
            -np.ones((1, 1)),
            np.full(1, 5.0),
            np.full(1, 0.5),
        )
        self.assertAllClose(multiplier, [0.5], 0, 1e-12)
        self.assertAllClose(step, 0.5 / (1 + np.exp(-step)), 0, 1e-9)

    def test_many_margins_are_solved_together(self):
        kernel, count = self.rng.normal(size=(3, 8)), 60
        hidden = self.rng.normal(size=(count, 8))
        weights = np.abs(self.rng.normal(size=(count, 8)))
        softplus = np.sum(weights * np.logaddexp(0, hidden), axis=1)
        offsets = -softplus * self.rng.uniform(0.2, 0.9, size=count)
        multiplier, step = solve_dual(
            kernel, hidden, weights, offsets, np.full(count, 1e3)
        )
        hidden = hidden + step @ kernel
        margins = np.sum(weights * np.logaddexp(0, hidden), axis=1) + offsets
        slopes = (weights * (1 + np.tanh(hidden / 2)) / 2) @ kernel.T
        reached = multiplier < 900
        self.assertGreater(np.mean(reached), 0.5)
        self.assertAllClose(margins[reached], 0 * margins[reached], 1e-5, 0)
        residuals = step + multiplier[:, None] * slopes
        self.assertAllClose(residuals[reached], 0 * step[reached], 1e-5, 0)

    def test_nothing_to_solve_is_solved(self):
        multiplier, step = solve_dual(
            np.ones((2, 3)),
            np.ones((0, 3)),
            np.ones((0, 3)),
            np.ones(0),
            np.ones(0),
        )
        self.assertEqual((multiplier.shape, step.shape), ((0,), (0, 2)))
