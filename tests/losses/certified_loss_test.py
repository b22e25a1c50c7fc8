import math

import keras
import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip import autodiff
from keras_lip import losses
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy

WITH_EPSILON = (losses.EMMA, losses.GloRo, losses.LogitAnnealing)
CERTIFIED = (*WITH_EPSILON, losses.CertificateRegularization)


class CertifiedLossTest(LipschitzTestCase):
    @parameterized.parameters(*CERTIFIED)
    def test_loss_of_no_constants_is_refused(self, cls):
        loss = cls()
        with self.assertRaisesRegex(
            ValueError,
            "has no Lipschitz constant. Pass it to `compile` of a `Lips",
        ):
            loss([0], [[1.0, 0.0]])
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
        model.compile("sgd", loss)
        with self.assertRaisesRegex(ValueError, "has no Lipschitz constant"):
            model.fit(np.eye(2), np.array([0, 1]), verbose=0)

    @parameterized.parameters(*CERTIFIED)
    def test_numbers_are_checked(self, cls):
        for value in (-1.0, math.inf, "1"):
            with self.assertRaisesRegex(
                (TypeError, ValueError), "`lipschitz_bound`"
            ):
                cls(lipschitz_bound=value)
        if cls in WITH_EPSILON:
            with self.assertRaisesRegex(ValueError, "`epsilon`"):
                cls(-0.1)

    def test_other_numbers_are_checked(self):
        for cls, name, value in (
            (losses.LogitAnnealing, "temperature", 0.0),
            (losses.LogitAnnealing, "exponent", 0.5),
            (losses.LogitAnnealing, "offset", math.nan),
            (losses.OffsetCrossentropy, "temperature", -1.0),
            (losses.OffsetCrossentropy, "offset", math.inf),
            (losses.GloRo, "kl_weight", -1.0),
            (losses.CertificateRegularization, "weight", -1.0),
        ):
            with self.assertRaisesRegex(ValueError, f"`{name}`"):
                cls(**{name: value})

    @parameterized.parameters(*WITH_EPSILON)
    def test_epsilon_is_set_and_kept_in_the_config(self, cls):
        loss = cls(36 / 255, lipschitz_bound=1.0)
        self.assertEqual(loss.epsilon, 36 / 255)
        before = float(loss([0], [[1.0, 0.0]]))
        loss.epsilon = 0.7
        self.assertEqual(loss.get_config()["epsilon"], 0.7)
        restored = cls.from_config(loss.get_config())
        after = float(loss([0], [[1.0, 0.0]]))
        self.assertGreater(after, before)
        self.assertAllClose(restored([0], [[1.0, 0.0]]), after)
        with self.assertRaisesRegex(ValueError, "`epsilon`"):
            loss.epsilon = -1.0
        self.assertEqual(loss.epsilon, 0.7)

    def test_a_loss_without_epsilon_has_none(self):
        loss = losses.CertificateRegularization()
        self.assertEqual(loss.variables, [])
        self.assertNotIn("epsilon", loss.get_config())
        with self.assertRaisesRegex(AttributeError, "has no epsilon"):
            loss.epsilon  # noqa: B018

    def test_constants_are_those_of_the_label_and_each_class(self):
        constants = np.array([[0.0, 1.0, 2.0], [1.0, 0.0, 3.0], [2.0, 3.0, 0]])
        loss = losses.EMMA(0.1, reduction=None)
        scores = np.array([[5.0, 0.0, 0.0], [0.0, 5.0, 0.0]])
        with loss.using_constants(ops.convert_to_tensor(constants, "float32")):
            values = to_numpy(loss([0, 1], scores))
        expected = [
            np.log1p(np.exp(-4.9) + np.exp(-4.8)),
            np.log1p(np.exp(-4.9) + np.exp(-4.7)),
        ]
        self.assertAllClose(values, expected, 1e-5)
        with self.assertRaisesRegex(ValueError, "has no Lipschitz"):
            loss([0, 1], scores)

    def test_emma_raises_no_class_beyond_a_tie(self):
        loss = losses.EMMA(10.0, lipschitz_bound=1.0)
        # Log 3 of three classes that tie.
        self.assertAllClose(loss([0], [[2.0, 1.0, -1.0]]), np.log(3), 1e-5)
        # A class that leads is raised by a hundredth of its reach.
        lead = 1.0 + 0.1 * np.sqrt(2)
        value = loss([0], [[0.0, 1.0]])
        self.assertAllClose(value, np.log1p(np.exp(lead)), 1e-5)

    def test_no_gradient_flows_through_the_share_of_emma(self):
        constant = ops.convert_to_tensor(1.0, "float32")

        def value(constant):
            loss = losses.EMMA(0.1)
            pairs = constant * (1.0 - ops.eye(2))
            with loss.using_constants(pairs):
                return loss([0], [[1.0, 0.0]])

        slope = float(to_numpy(autodiff.gradient(value, constant)))
        p = 1 / (1 + np.exp(0.9))
        self.assertAllClose(slope, 0.1 * p, 1e-5)

        def tied(constant):
            loss = losses.EMMA(2.0)
            pairs = constant * (1.0 - ops.eye(2))
            with loss.using_constants(pairs):
                return loss([0], [[1.0, 0.0]])

        # Its share is a half, and that of the gradient as well.
        slope = float(to_numpy(autodiff.gradient(tied, constant)))
        self.assertAllClose(slope, 2.0 * 0.5 * 0.5, 1e-5)

    def test_gloro_is_the_crossentropy_with_one_more_class(self):
        scores = self.normal(5, 3)
        labels = np.array([0, 1, 2, 0, 1])
        loss = losses.GloRo(0.3, lipschitz_bound=0.5, reduction=None)
        top = scores.argmax(axis=1)
        rivals = scores + 0.3 * 0.5 * np.sqrt(2)
        rivals[np.arange(5), top] = -np.inf
        joined = np.concatenate([scores, rivals.max(1, keepdims=True)], 1)
        expected = keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, reduction=None
        )(labels, joined)
        self.assertAllClose(loss(labels, scores), expected, 1e-5, 1e-5)

    def test_annealing_at_zero_epsilon_needs_logits_alone(self):
        scores, labels = self.normal(5, 3), np.array([0, 1, 2, 0, 1])
        one = losses.LogitAnnealing(0.0, lipschitz_bound=1.0)
        other = losses.LogitAnnealing(0.0, lipschitz_bound=100.0)
        self.assertAllClose(one(labels, scores), other(labels, scores))

    def test_a_wrong_answer_has_no_radius(self):
        one = losses.CertificateRegularization(0.0, lipschitz_bound=1.0)
        other = losses.CertificateRegularization(5.0, lipschitz_bound=1.0)
        wrong = [1], [[1.0, 0.0]]
        self.assertAllClose(one(*wrong), other(*wrong))
        right = [0], [[1.0, 0.0]]
        self.assertAllClose(
            one(*right) - other(*right), 5 / np.sqrt(2), 1e-5, 1e-5
        )
