import numpy as np

from keras_lip.models.exporting.float32_up import SMALLEST
from keras_lip.models.exporting.float32_up import float32_up
from tests.lipschitz_test_case import LipschitzTestCase


class Float32UpTest(LipschitzTestCase):
    def test_result_is_the_next_float32(self):
        values = np.exp(self.rng.uniform(-60, 80, 1000))
        rounded = float32_up(values)
        self.assertEqual(rounded.dtype, np.float32)
        self.assertTrue(np.all(rounded.astype("float64") >= values))
        below = np.nextafter(rounded, np.float32(0)).astype("float64")
        self.assertTrue(np.all(below < values))

    def test_float32_numbers_stay(self):
        values = self.normal(50) ** 2 + 1
        self.assertAllClose(float32_up(values), values, 0, 0)

    def test_what_float32_does_not_have_is_rounded_up(self):
        found = float32_up([0.0, 1e-40, np.nan, np.inf, 1e39])
        self.assertAllClose(
            found, [SMALLEST, SMALLEST, np.inf, np.inf, np.inf], 0, 0
        )
