import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip import autodiff
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
LABELS = np.array(
    [[1, 1, 0], [0, 0, 0], [1, 0, 1], [1, 1, 1], [0, 1, 0], [0, 0, 1]]
)


class MultilabelHKRTest(LipschitzTestCase):
    def test_value_is_the_one_worked_out_by_hand(self):
        # Hinges of column 0: 0, 1 - 0.5, 0; of column 1: 1 + 1, 0, 1 - 0.25.
        # Gap of column 0: (3 + 0.5) / 2 + 2 = 3.75; of column 1: -1 - 1.625.
        labels = [[1, 1], [1, 0], [0, 0]]
        scores = [[3.0, -1.0], [0.5, -3.0], [-2.0, -0.25]]
        loss = losses.MultilabelHKR(alpha=10.0, margin=1.0)
        hinge = ((0.5 / 3) + (2.75 / 3)) / 2
        gap = (3.75 + (-1 + 3.25 / 2)) / 2
        self.assertAllClose(loss(labels, scores), 10 * hinge - gap)

    def test_loss_is_the_mean_of_the_columns_own_losses(self):
        scores, weights = self.normal(6, 3), np.array([1, 2, 0, 3, 0.5, 1])
        loss, each = losses.MultilabelHKR(3.0, 0.7), losses.HKR(3.0, 0.7)
        columns = [
            float(each(LABELS[:, k], scores[:, k], weights)) for k in range(3)
        ]
        value = loss(LABELS, scores, weights)
        self.assertAllClose(value, np.mean(columns), rtol=1e-5)

    def test_column_of_one_label_keeps_its_hinge_alone(self):
        loss = losses.MultilabelHKR(alpha=1.0, margin=1.0)
        scores = ops.convert_to_tensor([[2.0, 5.0], [-2.0, 0.5]])
        labels = [[1, 1], [0, 1]]
        # Hinges: (0 + 0) / 2 and (0 + 0.5) / 2. Gaps: 4 and 0.
        self.assertAllClose(loss(labels, scores), 0.25 / 2 - 4 / 2)
        slope = autodiff.gradient(lambda s: loss(labels, s), scores)
        self.assertAllClose(slope, [[-0.5, 0.0], [0.5, -0.25]])

    def test_one_column_is_the_binary_loss(self):
        labels, scores = np.array([[1], [0], [0], [1]]), self.normal(4, 1)
        value = losses.MultilabelHKR()(labels, scores)
        self.assertAllClose(value, losses.HKR()(labels, scores))

    def test_several_positive_labels_are_no_class(self):
        with self.assertRaisesRegex(ValueError, "same shape"):
            losses.MultilabelHKR()([0, 1], self.normal(2, 3))

    @parameterized.parameters({"alpha": -1.0}, {"margin": 0.0})
    def test_argument_out_of_range_is_refused(self, **kwargs):
        with self.assertRaisesRegex(ValueError, "must be a finite number"):
            losses.MultilabelHKR(**kwargs)
