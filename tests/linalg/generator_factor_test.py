import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip.linalg import generator_factor
from tests.lipschitz_test_case import LipschitzTestCase


class GeneratorFactorTest(LipschitzTestCase):
    def test_matrices_within_the_limit_stay_as_they_are(self):
        matrix = np.array([[[0.0, 1024.0], [-1024.0, 0.0]]], "float32")
        self.assertAllClose(generator_factor(matrix), [[[1.0]]], 0, 0)
        self.assertAllClose(generator_factor(0 * matrix), [[[1.0]]], 0, 0)
        half = ops.convert_to_tensor(matrix / 2)
        self.assertAllClose(generator_factor(half, most=1.5), [[[1.5]]])

    def test_largest_row_is_brought_to_the_limit(self):
        # Rows of sums 2048 and 4096, with the imaginary part.
        real = np.array([[1024.0, -512.0], [0.0, 96.0]], "float32")
        imaginary = np.array([[0.0, 512.0], [-4000.0, 0.0]], "float32")
        factor = generator_factor(real, imaginary)
        self.assertAllClose(factor, [[0.25]], 0, 0)

    @parameterized.parameters(1.0, 1e25)
    def test_factor_is_at_most_what_it_may_be(self, most):
        matrix = np.full((2, 2), 2.0, "float32")
        factor = generator_factor(matrix, most=most)
        self.assertAllClose(factor, [[min(most, 256.0)]])
