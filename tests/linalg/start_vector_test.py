import numpy as np

from keras_lip.linalg import start_vector
from tests.lipschitz_test_case import LipschitzTestCase


class StartVectorTest(LipschitzTestCase):
    def test_the_vector_is_the_same_every_time(self):
        vector = start_vector((1, 3, 2))
        self.assertEqual((vector.shape, vector.dtype), ((1, 3, 2), "float32"))
        # `numpy.random.default_rng(0).normal()`
        self.assertAlmostEqual(float(vector[0, 0, 0]), 0.12573022, places=7)
        np.testing.assert_array_equal(vector, start_vector((1, 3, 2)))

    def test_a_dtype_is_taken(self):
        self.assertEqual(start_vector((2,), "float64").dtype, "float64")
