import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip.autodiff import gradient
from keras_lip.linalg import limit_norm
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy

WINDOW = (3, 3)


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
