import math

import numpy as np
from absl.testing import parameterized

from keras_lip import losses
from tests.lipschitz_test_case import LipschitzTestCase


class TemperatureSparseCategoricalCrossentropyTest(LipschitzTestCase):
    def test_values_are_those_worked_out_by_hand(self):
        loss = losses.TemperatureSparseCategoricalCrossentropy(
            2.0, reduction="none"
        )
        # Logits 2 and 0.
        expected = [math.log(1 + math.exp(-2)), math.log(1 + math.exp(2))]
        self.assertAllClose(loss([0, 1], [[1.0, 0.0], [1.0, 0.0]]), expected)

    def test_one_hot_rows_have_the_same_loss_in_the_other_class(self):
        indices, scores = np.array([0, 2, 1, 1]), self.normal(4, 3)
        sparse = losses.TemperatureSparseCategoricalCrossentropy(5.0)
        dense = losses.TemperatureCategoricalCrossentropy(5.0)
        self.assertAllClose(
            sparse(indices, scores), dense(np.eye(3)[indices], scores)
        )

    def test_one_hot_rows_are_refused(self):
        loss = losses.TemperatureSparseCategoricalCrossentropy()
        with self.assertRaisesRegex(
            ValueError, r"y_true.shape=\(3, 3\), y_pred.shape=\(3, 3\)"
        ):
            loss(np.eye(3), np.zeros((3, 3)))

    @parameterized.parameters(0.0, -1.0, float("inf"), float("nan"))
    def test_temperature_out_of_range_is_refused(self, temperature):
        with self.assertRaisesRegex(
            ValueError, "`temperature` must be a finite number greater than 0"
        ):
            losses.TemperatureSparseCategoricalCrossentropy(temperature)
