import numpy as np
from absl.testing import parameterized

from keras_lip import losses
from tests.lipschitz_test_case import LipschitzTestCase


class HingeMarginTest(LipschitzTestCase):
    def test_values_are_those_worked_out_by_hand(self):
        # 2 - 3 < 0; 2 - 0.5 = 1.5; 2 + 1 = 3; 2 - 1 = 1.
        loss = losses.HingeMargin(margin=2.0, reduction="none")
        values = loss([1, 1, 0, 0], [[3.0], [0.5], [1.0], [-1.0]])
        self.assertAllClose(values, [0.0, 1.5, 3.0, 1.0])
        self.assertAllClose(
            losses.HingeMargin(margin=2.0)([1, 1, 0, 0], [3.0, 0.5, 1.0, -1.0]),
            5.5 / 4,
        )

    def test_label_sets_agree(self):
        loss = losses.HingeMargin()
        zeros, scores = np.array([0, 1, 1, 0]), self.normal(4)
        self.assertAllClose(loss(zeros, scores), loss(2 * zeros - 1, scores))

    @parameterized.parameters(0.0, -1.0, float("inf"), float("nan"), "1", None)
    def test_margin_out_of_range_is_refused(self, margin):
        with self.assertRaisesRegex(
            ValueError, "`margin` must be a finite number greater than 0"
        ):
            losses.HingeMargin(margin=margin)
