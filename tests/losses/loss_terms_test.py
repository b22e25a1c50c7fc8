import numpy as np
from keras import ops

from keras_lip import autodiff
from keras_lip.losses import loss_terms
from keras_lip.losses.loss_terms import gap_between_means
from tests.lipschitz_test_case import LipschitzTestCase


class HingeTest(LipschitzTestCase):
    def test_binary_hinge_is_zero_beyond_the_margin(self):
        signs = ops.convert_to_tensor([[1.0], [-1.0], [1.0]])
        scores = ops.convert_to_tensor([[2.0], [-2.5], [-1.0]])
        values = loss_terms.binary_hinge(signs, scores, margin=2.0)
        self.assertAllClose(values, [0.0, 0.0, 3.0])

    def test_multiclass_hinge_leaves_out_the_class_itself(self):
        # Far beyond the margin: the class itself would add the margin.
        values = loss_terms.multiclass_hinge(
            ops.convert_to_tensor([[0.0, 1.0]]),
            ops.convert_to_tensor([[0.0, 9.0]]),
            margin=2.0,
        )
        self.assertAllClose(values, [0.0])


class GapBetweenMeansTest(LipschitzTestCase):
    def test_weighted_mean_of_shares_is_the_gap_of_weighted_means(self):
        members = np.eye(3, dtype="float32")[[0, 1, 1, 2, 0, 1, 2, 2]]
        scores, weights = self.normal(8, 3), np.abs(self.normal(8, 1))
        shares = gap_between_means(members, scores, weights)
        gaps = [
            np.average(scores[inside, k], weights=weights[inside, 0])
            - np.average(scores[~inside, k], weights=weights[~inside, 0])
            for k, inside in enumerate(members.T > 0)
        ]
        mean = np.average(ops.convert_to_numpy(shares), weights=weights[:, 0])
        self.assertAllClose(mean, np.mean(gaps), rtol=1e-5)

    def test_class_whose_weights_are_zero_is_absent(self):
        members = np.eye(2, dtype="float32")[[0, 1, 1]]
        weights = np.array([[0.0], [0.1], [0.7]], dtype="float32")
        shares = gap_between_means(members, self.normal(3, 2), weights)
        self.assertAllClose(shares, np.zeros(3))

    def test_gap_does_not_see_a_shift_of_all_scores(self):
        members = np.eye(3, dtype="float32")[[0, 0, 1, 0]]
        scores = ops.convert_to_tensor(self.normal(4, 3))
        weights = np.ones((4, 1), dtype="float32")
        slope = autodiff.gradient(
            lambda s: gap_between_means(members, s, weights), scores
        )
        self.assertAllClose(ops.sum(slope, axis=0), np.zeros(3))
