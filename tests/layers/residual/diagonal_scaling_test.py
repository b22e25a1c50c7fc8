import numpy as np
from keras import ops

from keras_lip.autodiff import gradient
from keras_lip.layers.residual.diagonal_scaling import bounded_exponential
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


class BoundedExponentialTest(LipschitzTestCase):
    def test_values(self):
        outputs = bounded_exponential(ops.convert_to_tensor([0.0, 10.0, -10.0]))
        self.assertAllClose(outputs, [1.0, np.exp(5), np.exp(-5)])

    def test_near_zero_it_is_the_exponential(self):
        x = self.normal(5, scale=1e-3)
        outputs = bounded_exponential(ops.convert_to_tensor(x))
        self.assertAllClose(outputs, np.exp(x), atol=1e-5)

    def test_extreme_arguments_stay_in_range_with_a_finite_gradient(self):
        x = ops.convert_to_tensor(np.float32([-1e30, -1e3, 0, 1e3, 1e30]))
        outputs = to_numpy(bounded_exponential(x))
        self.assertBetween(outputs.min(), np.exp(-10) * 0.999, 1e-4)
        self.assertBetween(outputs.max(), 2e4, np.exp(10) * 1.001)
        slopes = to_numpy(gradient(bounded_exponential, x))
        self.assertTrue(np.isfinite(slopes).all())
        # A thousand is far, but not lost.
        self.assertTrue((slopes[1:4] > 0).all())
