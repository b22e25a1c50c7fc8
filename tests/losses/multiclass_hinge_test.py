import numpy as np

from keras_lip import losses
from tests.lipschitz_test_case import LipschitzTestCase

SCORES = [
    [2.0, 1.5, -4.0],
    [0.0, 1.0, 0.5],
    [1.0, 1.0, 1.0],
    [0.25, -1.0, 2.0],
    [3.0, 0.0, 0.0],
    [0.0, 0.5, 0.75],
]


class MulticlassHingeTest(LipschitzTestCase):
    def test_values_are_those_worked_out_by_hand(self):
        # Class 0: 1 - 0.5 = 0.5, and 1 - 6 < 0. Class 1: 1 - 1 = 0, and
        # 1 - 0.5 = 0.5. Class 2, all tied: 1 + 1. Class 2: both < 0. Class 1:
        # 1 + 3 = 4, and 1. Class 0: 1 + 0.5 = 1.5, and 1 + 0.75 = 1.75.
        loss = losses.MulticlassHinge(reduction="none")
        values = loss([0, 1, 2, 2, 1, 0], SCORES)
        self.assertAllClose(values, [0.5, 0.5, 2.0, 0.0, 5.0, 3.25])

    def test_indices_and_one_hot_rows_agree(self):
        loss = losses.MulticlassHinge()
        indices = np.array([0, 1, 2, 2, 1, 0])
        expected = loss(indices, SCORES)
        self.assertAllClose(loss(indices[:, None], SCORES), expected)
        self.assertAllClose(loss(np.eye(3)[indices], SCORES), expected)

    def test_class_indices_survive_a_loss_in_bfloat16(self):
        # 257 is 256 in bfloat16.
        scores = np.zeros((1, 300))
        scores[0, 257] = 1.0
        loss = losses.MulticlassHinge(dtype="bfloat16")
        self.assertAllClose(loss([257], scores), 0.0)

    def test_margin_out_of_range_is_refused(self):
        with self.assertRaisesRegex(
            ValueError, "`margin` must be a finite number greater than 0"
        ):
            losses.MulticlassHinge(margin=0)
