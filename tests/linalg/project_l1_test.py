import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip.autodiff import gradient
from keras_lip.linalg import project_l1
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


class ProjectL1Test(LipschitzTestCase):
    def test_projection_is_that_of_hand(self):
        matrix = np.array(
            [[3.0, 1.0, 0.2, -0.9], [0.0, -1.0, -0.3, 0.5]], "float32"
        )
        # Thresholds 2, 1/2, none, and 1/5.
        expected = [[1.0, 0.5, 0.2, -0.7], [0.0, -0.5, -0.3, 0.3]]
        self.assertAllClose(project_l1(matrix), expected)

    def test_nothing_in_the_ball_is_nearer(self):
        matrix = self.normal(5, 3)
        projected = to_numpy(project_l1(matrix)).astype("float64")
        self.assertAllClose(np.abs(projected).sum(axis=0), np.ones(3))
        inside = self.rng.laplace(size=(2000, 5, 3))
        inside /= np.abs(inside).sum(axis=1, keepdims=True)
        # The angle at the projection is obtuse, seen from all of the ball.
        products = (matrix - projected) * (inside - projected)
        self.assertLess(products.sum(axis=1).max(), 1e-6)

    @parameterized.parameters(1e-30, 1e-3, 1.0, 1e9, 1e30)
    def test_sums_do_not_exceed_one_at_any_scale(self, scale):
        projected = to_numpy(project_l1(self.normal(5, 3) * np.float32(scale)))
        sums = np.abs(projected.astype("float64")).sum(axis=0)
        self.assertLessEqual(sums.max(), 1 + 1e-6)
        if scale >= 1:
            self.assertGreaterEqual(sums.min(), 1 - 1e-6)

    def test_zero_stays_zero(self):
        self.assertAllClose(project_l1(np.zeros((5, 3), "float32")), 0.0)

    def test_gradient_is_that_of_the_face(self):
        # On the face of all three entries, the projection takes the mean of
        # the gradient away.
        matrix = np.array([[0.5], [0.6], [0.7]], "float32")
        weights = np.array([[1.0], [2.0], [6.0]], "float32")
        actual = gradient(
            lambda t: ops.sum(ops.multiply(project_l1(t), weights)),
            ops.convert_to_tensor(matrix),
        )
        self.assertAllClose(actual, weights - 3.0, 1e-5, 1e-5)
