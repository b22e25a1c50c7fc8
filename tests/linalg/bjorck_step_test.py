import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip.autodiff import gradient
from keras_lip.linalg import bjorck_step
from tests.lipschitz_test_case import LipschitzTestCase


class BjorckStepTest(LipschitzTestCase):
    @parameterized.parameters(
        (5, 3), (3, 5), (4, 3, 3), (2, 5, 2), (2, 2, 4, 3)
    )
    def test_value_and_gradient(self, *shape):
        matrix = self.normal(*shape).astype("float32")
        transposed = np.swapaxes(matrix, -2, -1)
        gram = transposed @ matrix
        expected = 1.5 * matrix - 0.5 * matrix @ gram
        self.assertAllClose(
            bjorck_step(ops.convert_to_tensor(matrix)), expected, 1e-4, 1e-5
        )
        weights = self.normal(*shape).astype("float32")
        found = gradient(
            lambda each: ops.sum(ops.multiply(bjorck_step(each), weights)),
            ops.convert_to_tensor(matrix),
        )
        # The derivative of each of the three factors.
        turned = np.swapaxes(weights, -2, -1)
        outer = weights @ gram + matrix @ transposed @ weights
        outer = outer + matrix @ turned @ matrix
        self.assertAllClose(found, 1.5 * weights - 0.5 * outer, 1e-3, 1e-4)
