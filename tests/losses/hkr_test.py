from absl.testing import parameterized

from keras_lip import losses
from tests.lipschitz_test_case import LipschitzTestCase


class HKRTest(LipschitzTestCase):
    def test_value_is_the_one_worked_out_by_hand(self):
        # Hinge: (0 + 1.5 + 0) / 3 = 0.5. Gap: 3 - (0.5 - 2) / 2 = 3.75.
        loss = losses.HKR(alpha=10.0, margin=1.0)
        value = loss([1, 0, 0], [[3.0], [0.5], [-2.0]])
        self.assertAllClose(value, 10 * 0.5 - 3.75)

    def test_loss_is_the_sum_of_its_parts(self):
        labels, scores = [1, -1, -1, 1, -1], self.normal(5, 1)
        weights = [1.0, 2.0, 0.0, 0.5, 3.0]
        hinge = losses.HingeMargin(0.3)(labels, scores, weights)
        critic = losses.KantorovichRubinstein()(labels, scores, weights)
        loss = losses.HKR(4.0, 0.3)(labels, scores, weights)
        self.assertAllClose(loss, 4 * hinge + critic, rtol=1e-5)

    def test_batch_of_one_class_leaves_the_hinge(self):
        # Hinge: (0.5 + 0) / 2, times 10.
        self.assertAllClose(losses.HKR()([1, 1], [[0.5], [2.0]]), 2.5)

    def test_alpha_may_be_zero(self):
        value = losses.HKR(alpha=0)([1, 0], [[0.5], [2.0]])
        self.assertAllClose(value, 1.5)

    @parameterized.parameters(-1.0, float("inf"), float("nan"), "1", None)
    def test_alpha_out_of_range_is_refused(self, alpha):
        with self.assertRaisesRegex(
            ValueError, "`alpha` must be a finite number at least 0"
        ):
            losses.HKR(alpha=alpha)

    def test_margin_out_of_range_is_refused(self):
        with self.assertRaisesRegex(ValueError, "`margin` must be"):
            losses.HKR(margin=0.0)
