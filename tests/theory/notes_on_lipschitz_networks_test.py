"""Rules for robustness that are not sound, beside those that are."""

import keras
import numpy as np
from absl.testing import parameterized

from keras_lip.bounds import lipschitz_bound
from keras_lip.certificates import certify
from keras_lip.models import LipschitzSequential
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


class LinfCertificateTest(LipschitzTestCase):
    """The rule "robust within `epsilon` if `M > K epsilon / 2`" is unsound.

    `M` is the margin and `K` the constant in l-infinity. Two logits can move
    towards each other by `K epsilon` each, so `M > 2 K epsilon` is needed.
    """

    def make_model(self, name="logits"):
        # `f(x) = (x, -x)`, whose constant is one.
        layer = keras.layers.Dense(2, use_bias=False, name=name)
        model = LipschitzSequential([keras.Input((1,)), layer])
        layer.kernel.assign([[1.0, -1.0]])
        return model

    @parameterized.parameters("linf", "l2")
    def test_radius_is_the_distance_of_the_boundary(self, norm):
        model = self.make_model()
        report = certify(model, np.array([[0.3]]), [0], norm=norm)
        radius = float(report.radius[0])
        self.assertBetween(radius, 0.3 - 1e-6, np.float32(0.3))
        # One input: both norms are the absolute value.
        inside, outside = 0.3 - 0.999 * radius, 0.3 - 1.001 * 0.3
        labels = to_numpy(model(np.array([[inside], [outside]]))).argmax(axis=1)
        self.assertEqual(labels.tolist(), [0, 1])

    def test_rule_of_the_notes_claims_four_times_the_distance(self):
        model = self.make_model()
        constant = lipschitz_bound(model, norm="linf")
        self.assertAlmostEqual(constant, 1.0, delta=1e-6)
        logits = to_numpy(model(np.array([[0.3]])))[0]
        margin = logits[0] - logits[1]
        self.assertAlmostEqual(margin, 0.6, delta=1e-6)
        claimed, sound = 2 * margin / constant, margin / (2 * constant)
        self.assertAlmostEqual(claimed, 1.2, delta=1e-6)
        self.assertAlmostEqual(sound, 0.3, delta=1e-6)
        # A perturbation of a third of the claim changes the class.
        moved = to_numpy(model(np.array([[0.3 - claimed / 3]])))[0]
        self.assertLess(moved[0], moved[1])
