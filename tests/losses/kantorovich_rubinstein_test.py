import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip import autodiff
from keras_lip import losses
from tests.lipschitz_test_case import LipschitzTestCase


class KantorovichRubinsteinTest(LipschitzTestCase):
    def test_loss_is_negative_mean_minus_positive_mean(self):
        # Positive: (4 + 2) / 2 = 3. Negative: (1 - 3) / 2 = -1. -1 - 3 = -4.
        loss = losses.KantorovichRubinstein()
        value = loss([1, 0, 1, 0], [[4.0], [1.0], [2.0], [-3.0]])
        self.assertAllClose(value, -4.0)

    def test_classes_count_alike_in_an_unbalanced_batch(self):
        # Positive: 5. Negative: (1 + 2 + 3 + 6) / 4 = 3. 3 - 5 = -2.
        loss = losses.KantorovichRubinstein()
        value = loss([0, 0, 1, 0, 0], [1.0, 2.0, 5.0, 3.0, 6.0])
        self.assertAllClose(value, -2.0)

    def test_value_of_each_sample_is_scaled_by_its_class(self):
        # Five samples: the single positive counts 5 / 1, the others 5 / 4.
        loss = losses.KantorovichRubinstein(reduction="none")
        values = loss([0, 0, 1, 0, 0], [1.0, 2.0, 5.0, 3.0, 6.0])
        self.assertAllClose(values, [1.25, 2.5, -25.0, 3.75, 7.5])

    @parameterized.parameters(0, 1)
    def test_batch_of_one_class_neither_counts_nor_shifts_scores(self, label):
        loss = losses.KantorovichRubinstein()
        labels, scores = [label] * 3, ops.convert_to_tensor([4.0, 5.0, 6.0])
        self.assertAllClose(loss(labels, scores), 0.0)
        slope = autodiff.gradient(lambda s: loss(labels, s), scores)
        self.assertAllClose(slope, np.zeros(3))

    def test_gradient_is_minus_one_over_the_size_of_each_class(self):
        loss = losses.KantorovichRubinstein()
        scores = ops.convert_to_tensor([7.0, 8.0, 9.0, 1.0])
        slope = autodiff.gradient(lambda s: loss([1, 0, 0, 0], s), scores)
        self.assertAllClose(slope, [-1.0, 1 / 3, 1 / 3, 1 / 3])

    def test_weights_weigh_the_mean_of_each_class(self):
        # Positive: (3 * 2 + 1 * 6) / 4 = 3. Negative: 1. The mean weight is
        # (3 + 1 + 4 + 0) / 4 = 2, so the loss is 2 * (1 - 3) = -4.
        loss = losses.KantorovichRubinstein()
        value = loss([1, 1, 0, 0], [2.0, 6.0, 1.0, 99.0], [3.0, 1.0, 4.0, 0.0])
        self.assertAllClose(value, -4.0)

    def test_shapes_and_label_sets_agree(self):
        loss = losses.KantorovichRubinstein()
        zeros = np.array([0, 1, 1, 0, 0, 0])
        scores = self.normal(6)
        expected = loss(zeros, scores)
        for labels in (zeros, 2 * zeros - 1, zeros.astype(bool)):
            for y_true in (labels, labels[:, None]):
                for y_pred in (scores, scores[:, None]):
                    self.assertAllClose(loss(y_true, y_pred), expected)

    def test_large_batches_are_counted_in_float32(self):
        # 70000 is infinite in float16.
        loss = losses.KantorovichRubinstein(reduction="none", dtype="float16")
        labels = np.arange(70000) % 2
        values = loss(labels, np.ones(70000))
        self.assertAllClose(values[:2], [2.0, -2.0])
