import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip import autodiff
from keras_lip import losses
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy

SCORES = [
    [2.0, 1.5, -4.0],
    [0.0, 1.0, 0.5],
    [1.0, 1.0, 1.0],
    [0.25, -1.0, 2.0],
    [3.0, 0.0, 0.0],
    [0.0, 0.5, 0.75],
]


class MulticlassSoftHKRTest(LipschitzTestCase):
    def test_values_are_those_worked_out_by_hand(self):
        # The other scores log(1), log(2) and log(5), at temperature 1, make
        # log(8): the gap of log(16) is log(2), and that of log(4) is -log(2).
        loss = losses.MulticlassSoftHKR(4.0, 1.0, 1.0, reduction="none")
        others = np.log([1.0, 2.0, 5.0])
        scores = [[*others, np.log(16.0)], [np.log(4.0), *others]]
        values = loss([3, 0], scores)
        gaps = np.array([np.log(2.0), -np.log(2.0)])
        self.assertAllClose(values, 4 * (1 - gaps) - gaps, rtol=1e-5)
        # Beyond the margin the gap is left.
        scores = [[*others, np.log(8.0) + 3.0]] * 2
        self.assertAllClose(loss([3, 3], scores), [-3.0, -3.0], rtol=1e-5)

    def test_temperature_scales_the_soft_maximum(self):
        # log(exp(2 * 1) + exp(2 * 1)) / 2 = 1 + log(2) / 2.
        loss = losses.MulticlassSoftHKR(0.0, temperature=2.0)
        value = loss([0], [[4.0, 1.0, 1.0]])
        self.assertAllClose(value, -(3 - np.log(2.0) / 2), rtol=1e-6)

    def test_two_classes_have_their_own_margin(self):
        loss = losses.MulticlassSoftHKR(alpha=10.0, reduction="none")
        values = loss([0, 1], [[0.75, 0.5], [3.0, 1.0]])
        # Margins 0.25 and -2: 10 * 0.75 - 0.25, and 10 * 3 + 2.
        self.assertAllClose(values, [7.25, 32.0])

    def test_soft_margin_is_at_most_the_margin(self):
        scores, labels = self.normal(20, 5, scale=3.0), np.arange(20) % 5
        loss = losses.MulticlassSoftHKR(0.0, temperature=2.0, reduction="none")
        gaps = -to_numpy(loss(labels, scores))
        own = scores[np.arange(20), labels]
        scores[np.arange(20), labels] = -np.inf
        margins = own - scores.max(axis=1)
        self.assertTrue((gaps <= margins + 1e-5).all())
        self.assertTrue((gaps >= margins - np.log(4.0) / 2 - 1e-5).all())

    def test_gradient_lowers_every_wrong_class_by_its_share(self):
        loss = losses.MulticlassSoftHKR(0.0, temperature=1.0)
        scores = ops.convert_to_tensor([[0.0, 0.0, np.log(3.0)]], "float32")
        slope = autodiff.gradient(lambda s: loss([0], s), scores)
        self.assertAllClose(slope, [[-1.0, 0.25, 0.75]])

    def test_far_scores_have_exact_gradients(self):
        loss = losses.MulticlassSoftHKR(alpha=1.0)
        scores = ops.convert_to_tensor([[1e30, 0.0, -1e30]])
        # Beyond the margin: minus the gap. Far before it: twice.
        for label, expected in ((0, [-1.0, 1.0, 0.0]), (2, [2.0, 0.0, -2.0])):
            slope = autodiff.gradient(
                lambda s, label=label: loss([label], s), scores
            )
            self.assertAllClose(slope, [expected])

    def test_sample_does_not_depend_on_its_batch(self):
        loss = losses.MulticlassSoftHKR(reduction="none")
        labels, scores = np.array([0, 1, 2, 2, 1, 0]), np.array(SCORES)
        together = to_numpy(loss(labels, scores))
        for i in range(6):
            alone = loss(labels[i : i + 1], scores[i : i + 1])
            self.assertAllClose(alone, together[i : i + 1])

    @parameterized.parameters(
        {"alpha": -1.0}, {"margin": 0.0}, {"temperature": 0.0}
    )
    def test_argument_out_of_range_is_refused(self, **kwargs):
        with self.assertRaisesRegex(ValueError, "must be a finite number"):
            losses.MulticlassSoftHKR(**kwargs)
