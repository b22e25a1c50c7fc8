import keras
import numpy as np
from absl.testing import parameterized
from keras import layers

from keras_lip.certificates.attacks.attacked_model import AttackedModel
from keras_lip.certificates.attacks.certified_claims import least_margins
from keras_lip.certificates.attacks.margin_ascent import ascend_margins
from keras_lip.certificates.attacks.perturbation_ball import PerturbationBall
from keras_lip.live_model import LiveModel
from keras_lip.program import freeze
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


def attack(model):
    return AttackedModel(LiveModel(model), freeze(model))


class MarginAscentTest(LipschitzTestCase):
    def make_ball(self, norm):
        x = self.rng.normal(size=(4, 3))
        return PerturbationBall(x, np.full(4, 0.5), norm, None)

    def test_gradients_are_those_of_the_live_model(self):
        model = keras.Sequential([keras.Input((3,)), layers.Dense(4)])
        kernel = to_numpy(model.layers[0].kernel).astype("float64")
        weights = self.rng.normal(size=(4, 4))
        found = attack(model).gradients(np.ones((4, 3)), weights)
        self.assertEqual(found.dtype, "float64")
        self.assertAllClose(found, weights @ kernel.T)
        # Those of the program have the digits of float64.
        (found,) = freeze(model).gradient(weights, np.ones((4, 3)))
        self.assertAllClose(found, weights @ kernel.T, 1e-14, 1e-14)

    def test_worst_points_of_a_linear_model_are_reached_at_once(self):
        model = keras.Sequential([keras.Input((3,)), layers.Dense(4)])
        kernel = to_numpy(model.layers[0].kernel).astype("float64")
        attacked = attack(model)
        for norm, dual in (("l2", 2), ("linf", 1)):
            ball = self.make_ball(norm)
            logits = ball.center @ kernel
            labels = np.argmax(logits, axis=1)
            slopes = np.linalg.norm(
                kernel[:, labels, None] - kernel[:, None, :], dual, axis=0
            )
            margins = logits.max(axis=1)[:, None] - logits
            worst = margins - 0.5 * slopes
            worst[np.arange(4), labels] = np.inf
            runs = list(ascend_margins(attacked, ball, labels, 1, self.rng))
            self.assertLen(runs, 5)
            found = [least_margins(attacked(points), labels) for points in runs]
            # Three classes, each in a run of its own.
            self.assertAllClose(np.min(found[:3], axis=0), worst.min(axis=1))

    @parameterized.parameters(("l2", 3**0.5), ("linf", 3.0))
    def test_nearest_of_many_classes_is_tried(self, norm, slope):
        # Its margin is the largest, and it shrinks the fastest.
        model = keras.Sequential([keras.Input((3,)), layers.Dense(5)])
        kernel, bias = np.zeros((3, 5)), np.array([0, -1, -1, -1, -1.4])
        kernel[0, 1:4] = 1
        kernel[:, 4] = 1
        model.layers[0].set_weights([kernel, bias])
        ball = PerturbationBall(np.zeros((4, 3)), np.full(4, 0.9), norm, None)
        labels, attacked = np.zeros(4, int), attack(model)
        points = next(ascend_margins(attacked, ball, labels, 1, self.rng))
        found = least_margins(attacked(points), labels)
        self.assertAllClose(found, np.full(4, 1.4 - 0.9 * slope))

    def test_random_starts_get_around_a_flat_place(self):
        # At the samples the gradient is zero, and beyond a kink it is not.
        model = keras.Sequential(
            [keras.Input((3,)), layers.ReLU(), layers.Dense(1)]
        )
        kernel = np.array([[1.0], [0.0], [0.0]])
        model.layers[1].set_weights([kernel, np.array([-0.25])])
        center = np.full((4, 3), -0.01)
        ball = PerturbationBall(center, np.full(4, 0.5), "l2", None)
        labels = np.zeros(4, int)
        attacked = attack(model)
        runs = list(ascend_margins(attacked, ball, labels, 4, self.rng))
        found = [least_margins(attacked(points), labels) for points in runs]
        self.assertAllClose(found[:4], np.full((4, 4), 0.25), 0, 0)
        # The worst point is a radius away, at 0.49.
        self.assertAllClose(np.min(found), 0.25 - 0.49, 1e-3)

    def test_least_margins_of_given_classes(self):
        logits = np.array([[3.0, 1.0, 2.0], [0.0, 5.0, 4.0]])
        self.assertAllClose(least_margins(logits, np.array([0, 2])), [1, -1])
        logits = np.array([[3.0], [-2.0]])
        self.assertAllClose(least_margins(logits, np.array([1, 1])), [3, -2])
        self.assertAllClose(least_margins(logits, np.array([0, 0])), [-3, 2])
