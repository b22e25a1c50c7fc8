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


class MulticlassHKRTest(LipschitzTestCase):
    def test_gap_is_the_mean_over_classes(self):
        # Class 0: (2 + 6) / 2 - 1 = 3. Class 1: 4 - (1 + 0) / 2 = 3.5.
        scores = [[2.0, 1.0], [6.0, 0.0], [1.0, 4.0]]
        loss = losses.MulticlassHKR(alpha=0.0)
        self.assertAllClose(loss([0, 0, 1], scores), -3.25)

    def test_hinge_is_added(self):
        # Hinge of the above with margin 2: (1 + 0 + 0) / 3.
        scores = [[2.0, 1.0], [6.0, 0.0], [1.0, 4.0]]
        loss = losses.MulticlassHKR(alpha=6.0, margin=2.0)
        self.assertAllClose(loss([0, 0, 1], scores), 6 / 3 - 3.25)

    def test_class_absent_from_the_batch_adds_nothing(self):
        # As above, with a third class: (3 + 3.5 + 0) / 3.
        scores = [[2.0, 1.0, 9.0], [6.0, 0.0, 8.0], [1.0, 4.0, 7.0]]
        loss = losses.MulticlassHKR(alpha=0.0)
        self.assertAllClose(loss([0, 0, 1], scores), -6.5 / 3)
        slope = autodiff.gradient(
            lambda s: loss([0, 0, 1], s), ops.convert_to_tensor(scores)
        )
        # The scores of the absent class stay put.
        expected = [[-1 / 6, 1 / 6, 0], [-1 / 6, 1 / 6, 0], [1 / 3, -1 / 3, 0]]
        self.assertAllClose(slope, expected)

    def test_batch_of_one_class_leaves_the_hinge(self):
        # Hinge: max(0, 1 - 0.25) and max(0, 1 - 3), times 10.
        loss = losses.MulticlassHKR()
        self.assertAllClose(loss([0, 0], [[0.25, 0.0], [3.0, 0.0]]), 3.75)

    def test_two_classes_with_opposite_scores_are_the_binary_case(self):
        labels, scores = np.array([1, 0, 0, 1, 0]), self.normal(5, 1)
        pair = np.concatenate([-scores / 2, scores / 2], axis=-1)
        binary = losses.HKR(alpha=3.0)(labels, scores)
        gap = losses.KantorovichRubinstein()(labels, scores)
        multiclass = losses.MulticlassHKR(alpha=3.0)(labels, pair)
        # Each of the two columns shows half of the gap.
        self.assertAllClose(multiclass, binary - gap / 2, rtol=1e-5)

    def test_indices_and_one_hot_rows_agree(self):
        loss = losses.MulticlassHKR()
        indices = np.array([0, 1, 2, 2, 1, 0])
        expected = loss(indices, SCORES)
        self.assertAllClose(loss(indices[:, None], SCORES), expected)
        self.assertAllClose(loss(np.eye(3)[indices], SCORES), expected)

    @parameterized.parameters({"alpha": -1.0}, {"margin": 0.0})
    def test_argument_out_of_range_is_refused(self, **kwargs):
        with self.assertRaisesRegex(ValueError, "must be a finite number"):
            losses.MulticlassHKR(**kwargs)
