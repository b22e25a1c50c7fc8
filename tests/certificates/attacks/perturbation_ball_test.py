import numpy as np
from absl.testing import parameterized

from keras_lip.certificates.attacks.perturbation_ball import PerturbationBall
from keras_lip.certificates.attacks.perturbation_ball import batch_norms
from tests.lipschitz_test_case import LipschitzTestCase


class PerturbationBallTest(LipschitzTestCase):
    def make_ball(self, norm, bounds=None):
        center = np.array([[[0.5], [0.5]], [[0.0], [1.0]]])
        return PerturbationBall(center, np.array([0.25, 2.0]), norm, bounds)

    def test_hand_computed_projections(self):
        points = np.array([[[1.5], [0.5]], [[1.0], [2.0]]])
        ball = self.make_ball("l2")
        self.assertAllClose(ball.distances(points), [1.0, 2**0.5])
        expected = np.array([[[0.75], [0.5]], [[1.0], [2.0]]])
        self.assertAllClose(ball.project(points), expected)
        ball = self.make_ball("linf", (0.0, 0.75))
        self.assertAllClose(ball.distances(points), [1.0, 1.0])
        expected = np.array([[[0.75], [0.5]], [[0.75], [0.75]]])
        self.assertAllClose(ball.project(points), expected)

    @parameterized.product(
        norm=["l2", "linf"], bounds=[None, (0.0, 1.0)], share=[0.5, 3.0]
    )
    def test_no_point_leaves_the_ball(self, norm, bounds, share):
        ball = self.make_ball(norm, bounds)
        for _ in range(20):
            points = ball.draw(self.rng)
            slopes = self.rng.normal(size=points.shape)
            for each in points, ball.move(points, slopes, share):
                self.assertTrue(
                    (ball.distances(each) <= ball.radius * (1 + 1e-12)).all()
                )
                if bounds:
                    self.assertBetween(each.min(), *bounds)
                    self.assertBetween(each.max(), *bounds)

    def test_one_step_reaches_the_steepest_point(self):
        slopes = np.array([[[3.0], [-4.0]], [[0.0], [1.0]]])
        moved = self.make_ball("l2").move(
            self.make_ball("l2").center, slopes, 2
        )
        expected = np.array([[[0.65], [0.3]], [[0.0], [3.0]]])
        self.assertAllClose(moved, expected)
        ball = self.make_ball("linf")
        moved = ball.move(ball.center, slopes, 2)
        expected = np.array([[[0.75], [0.25]], [[0.0], [3.0]]])
        self.assertAllClose(moved, expected)

    def test_points_without_a_slope_stay(self):
        for norm in "l2", "linf":
            ball = self.make_ball(norm)
            moved = ball.move(ball.center, np.zeros((2, 2, 1)), 1.0)
            self.assertAllClose(moved, ball.center, 0, 0)

    def test_norms_of_samples(self):
        batch = np.array([[[3.0], [-4.0]]])
        for norm, expected in (("l1", 7.0), ("l2", 5.0), ("linf", 4.0)):
            for scale in (0.0, 1e-250, 1.0, 1e250):
                self.assertAllClose(
                    batch_norms(scale * batch, norm),
                    [scale * expected],
                    atol=0,
                    rtol=1e-12,
                )
