import math

import numpy as np
from absl.testing import parameterized

from keras_lip import losses
from tests.lipschitz_test_case import LipschitzTestCase


class TemperatureCategoricalCrossentropyTest(LipschitzTestCase):
    def test_values_are_those_worked_out_by_hand(self):
        loss = losses.TemperatureCategoricalCrossentropy(2.0, reduction="none")
        # Logits 2 and 0: -log(sigmoid(2)), and the mean of that and
        # -log(sigmoid(-2)).
        right = math.log(1 + math.exp(-2))
        wrong = math.log(1 + math.exp(2))
        values = loss([[1, 0], [0.5, 0.5]], [[1.0, 0.0], [1.0, 0.0]])
        self.assertAllClose(values, [right, (right + wrong) / 2])

    def test_class_indices_are_refused(self):
        loss = losses.TemperatureCategoricalCrossentropy()
        with self.assertRaisesRegex(
            ValueError, r"y_true.shape=\(2,\), y_pred.shape=\(2, 3\)"
        ):
            loss([0, 1], np.zeros((2, 3)))

    @parameterized.parameters(0.0, -1.0, float("inf"), float("nan"))
    def test_temperature_out_of_range_is_refused(self, temperature):
        with self.assertRaisesRegex(
            ValueError, "`temperature` must be a finite number greater than 0"
        ):
            losses.TemperatureCategoricalCrossentropy(temperature)
