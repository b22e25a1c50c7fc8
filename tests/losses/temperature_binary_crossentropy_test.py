import math

import numpy as np
from absl.testing import parameterized

from keras_lip import losses
from tests.lipschitz_test_case import LipschitzTestCase


class TemperatureBinaryCrossentropyTest(LipschitzTestCase):
    def test_values_are_those_worked_out_by_hand(self):
        loss = losses.TemperatureBinaryCrossentropy(2.0, reduction="none")
        values = loss([1, 0, 1], [[0.5], [0.5], [0.0]])
        # -log(sigmoid(1)), -log(sigmoid(-1)), -log(sigmoid(0)).
        expected = [
            math.log(1 + math.exp(-1)),
            math.log(1 + math.exp(1)),
            math.log(2),
        ]
        self.assertAllClose(values, expected)

    def test_large_logits_neither_overflow_nor_vanish(self):
        loss = losses.TemperatureBinaryCrossentropy(1e3, reduction="none")
        self.assertAllClose(loss([1, 0], [10.0, 10.0]), [0.0, 1e4])

    def test_label_sets_agree(self):
        loss = losses.TemperatureBinaryCrossentropy()
        zeros, scores = np.array([0, 1, 1, 0]), self.normal(4)
        self.assertAllClose(loss(zeros, scores), loss(2 * zeros - 1, scores))

    @parameterized.parameters(0.0, -1.0, float("inf"), float("nan"))
    def test_temperature_out_of_range_is_refused(self, temperature):
        with self.assertRaisesRegex(
            ValueError, "`temperature` must be a finite number greater than 0"
        ):
            losses.TemperatureBinaryCrossentropy(temperature)
