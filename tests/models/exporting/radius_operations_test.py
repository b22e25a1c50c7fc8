import keras
import numpy as np
from keras import ops

from keras_lip.models.exporting import radius_operations
from keras_lip.models.exporting.radius_operations import SMALLEST
from keras_lip.models.exporting.radius_operations import float32_up
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


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


class RadiusOperationsTest(LipschitzTestCase):
    def test_radius_of_what_is_not_known_is_zero(self):
        # Whatever the number is that a runtime has made of it.
        radii = ops.convert_to_tensor(
            np.array([2.0, 2.0, 0.0, -1.0, np.nan, np.inf], "float32")
        )
        finite = ops.convert_to_tensor([True, False, True, True, False, False])
        found = to_numpy(radius_operations.finish_radius(radii, finite))
        self.assertAllClose(found[1:], np.zeros(5), 0, 0)
        self.assertLess(found[0], 2.0)
        self.assertAllClose(found[0], 2.0, 0, 2e-6)

    def test_sample_is_finite_if_all_of_it_is(self):
        x = np.zeros((5, 2), "float32")
        y = np.zeros((5, 3), "float32")
        x[0, 1], x[1, 0], y[2, 2], y[3, 0] = np.nan, np.inf, -np.inf, np.nan
        found = radius_operations.are_finite(
            ops.convert_to_tensor(x), ops.convert_to_tensor(y)
        )
        self.assertEqual(to_numpy(found).tolist(), [False] * 4 + [True])

    def test_first_of_the_largest_logits_is_the_label(self):
        logits = [[1.0, 3.0, 3.0], [2.0, 2.0, 2.0], [np.nan] * 3]
        found = radius_operations.find_label(
            ops.convert_to_tensor(np.array(logits, "float32"))
        )
        self.assertEqual(to_numpy(found)[:2].tolist(), [1, 0])
        # A row of every table has that number.
        self.assertBetween(to_numpy(found)[2], 0, 2)

    def test_softplus_does_not_overflow(self):
        x = np.array([-200.0, -30.0, -1.0, 0.0, 2.0, 90.0, 3e38], "float32")
        found = radius_operations.softplus(ops.convert_to_tensor(x))
        exact = np.logaddexp(0, x.astype("float64"))
        self.assertAllClose(found, exact, atol=1.2e-7, rtol=3e-7)

    def test_radius_over_the_label_itself_does_not_count(self):
        radii = np.array([[0.0, 5.0, 4.0], [7.0, 0.0, 9.0]], "float32")
        hot = np.eye(3, dtype="float32")[[0, 1]]
        found = radius_operations.least_radius(
            ops.convert_to_tensor(radii), ops.convert_to_tensor(hot)
        )
        self.assertAllClose(found, [4.0, 7.0], 0, 0)

    def test_rows_of_a_table_are_rounded_up(self):
        table = np.array([[1 + 2.0**-40, 3.0], [5.0, 7.0]])
        labels = keras.Input((), dtype="int32")
        rows = radius_operations.lookup_rows(table, labels)
        found = to_numpy(keras.Model(labels, rows)(np.array([1, 0])))
        self.assertAllClose(found[0], table[1], 0, 0)
        self.assertTrue(np.all(found[1] >= table[0]))
        self.assertAllClose(found[1], table[0], 0, 2e-7)
        same = radius_operations.lookup_rows(np.full((2, 2), 0.1), labels)
        self.assertIsInstance(same, float)
        self.assertGreaterEqual(same, 0.1)
