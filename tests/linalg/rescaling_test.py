import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip.autodiff import gradient
from keras_lip.linalg import limit_norm
from keras_lip.linalg import project_l1
from keras_lip.linalg import scale_to_one
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy

WINDOW = (3, 3)


class ScaleToOneTest(LipschitzTestCase):
    @parameterized.named_parameters(
        ("first", 0), ("last", -1), ("both", (0, 1)), ("all", None)
    )
    def test_largest_value_becomes_one(self, axis):
        tensor = self.normal(4, 3)
        actual = to_numpy(scale_to_one(ops.convert_to_tensor(tensor), axis))
        largest = np.abs(tensor).max(axis=axis, keepdims=True)
        self.assertAllClose(actual, tensor / largest)
        self.assertAllClose(np.abs(actual).max(axis=axis), 1.0)

    @parameterized.parameters(1e-35, 1e-25, 1e-3, 1e30)
    def test_result_does_not_depend_on_the_scale(self, scale):
        tensor = self.normal(4, 3)
        scaled = (tensor.astype("float64") * scale).astype("float32")
        self.assertAllClose(
            scale_to_one(ops.convert_to_tensor(scaled), axis=None),
            scale_to_one(ops.convert_to_tensor(tensor), axis=None),
        )

    def test_tiny_values_stay_as_they_are(self):
        tensor = np.array([[1e-38, 2.0], [0.0, -4.0]], dtype="float32")
        actual = to_numpy(scale_to_one(ops.convert_to_tensor(tensor), axis=0))
        self.assertAllClose(actual[:, 1], [0.5, -1.0])
        # A backend may flush what is tiny to zero.
        self.assertLess(np.abs(actual[:, 0]).max(), 1e-30)
        zeros = ops.zeros((2, 3))
        self.assertAllClose(scale_to_one(zeros, axis=(0, 1)), zeros, 0, 0)

    def test_no_gradient_flows_through_the_scale(self):
        tensor = ops.convert_to_tensor(np.array([[1.0, -4.0], [0.0, 0.0]]))
        tensor = ops.cast(tensor, "float32")
        slope = gradient(lambda t: scale_to_one(t, axis=-1), tensor)
        self.assertAllClose(slope, [[0.25, 0.25], [1.0, 1.0]])

    @parameterized.parameters(
        (1e-30, 1e6), (1e-9, 1e6), (1e-5, 1e5), (1e5, 1e-5)
    )
    def test_gradient_is_at_most_a_million(self, scale, slope):
        tensor = ops.convert_to_tensor(
            np.array([[0.5, -1.0]], "float32") * scale
        )
        actual = gradient(lambda t: scale_to_one(t, axis=-1), tensor)
        self.assertAllClose(actual, [[slope, slope]], 0, 1e-5)
        self.assertAllClose(scale_to_one(tensor, axis=-1), [[0.5, -1.0]])


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


class NormLimitTest(LipschitzTestCase):
    def norm(self, kernel):
        """Returns the norm on a circular image, some 1 % under the true one."""
        kernel = to_numpy(kernel).astype("float64")
        spectrum = np.fft.fft2(kernel, s=(12, 12), axes=(0, 1))
        return np.linalg.svd(spectrum, compute_uv=False).max()

    def limit(self, kernel, limit=2.0):
        return to_numpy(limit_norm(ops.convert_to_tensor(kernel), limit))

    def kernels(self):
        kernel = self.normal(*WINDOW, 5, 4)
        yield kernel
        yield kernel * (self.normal(*WINDOW, 1, 1) ** 3)
        # One tap, for which the bound is exact but for its slack; and taps that
        # add up at one frequency.
        yield kernel * np.eye(9, dtype="float32")[0].reshape(*WINDOW, 1, 1)
        yield np.ones_like(kernel)

    @parameterized.parameters(1e-20, 1.0, 1e20)
    def test_norm_is_at_most_the_limit(self, scale):
        for kernel in self.kernels():
            limited = self.limit(kernel * np.float32(scale), 1e-21)
            norm = self.norm(limited) / 1e-21
            self.assertLessEqual(norm, 1)
            self.assertGreater(norm, 0.45)

    def test_bound_is_close_where_one_tap_dominates(self):
        _, _, single, constant = self.kernels()
        self.assertGreater(self.norm(self.limit(single)), 0.95 * 2)
        self.assertGreater(self.norm(self.limit(constant)), 0.95 * 2)

    def test_kernels_under_the_limit_stay_as_they_are(self):
        kernel = self.normal(*WINDOW, 5, 4)
        kernel *= np.float32(0.9 / self.norm(kernel))
        self.assertAllClose(self.limit(kernel), kernel)
        self.assertAllClose(self.limit(kernel * 1e-30), kernel * 1e-30, 0, 1e-5)

    @parameterized.parameters(0.0, 1e-30, 1.0)
    def test_gradient_is_finite(self, scale):
        kernel = self.normal(*WINDOW, 3, 3, scale=scale)
        kernel[0, 0] = 0
        weights = self.normal(*WINDOW, 3, 3)
        factors = ops.convert_to_tensor(weights)
        actual = to_numpy(
            gradient(
                lambda kernel: ops.sum(limit_norm(kernel, 2.0) * factors),
                ops.convert_to_tensor(kernel),
            )
        )
        self.assertTrue(np.isfinite(actual).all())
        if scale < 1:
            self.assertAllClose(actual, weights, 1e-5)
        else:
            # Over the limit the result does not depend on the scale.
            self.assertAllClose(np.sum(actual * kernel), 0, 1e-4)
