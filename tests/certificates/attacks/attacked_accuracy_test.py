import sys
from unittest import mock

import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import certificates
from keras_lip import layers
from keras_lip import models
from tests.lipschitz_test_case import LipschitzTestCase


class AttackedAccuracyTest(LipschitzTestCase):
    def test_attacks_on_a_linear_model_find_its_boundary(self):
        # The boundary is x1 = x2, so that attacks need |x1 - x2| / sqrt(2).
        model = models.LipschitzSequential(
            [keras.Input((2,)), layers.UnitNormDense(2, use_bias=False)]
        )
        model.layers[0].free_kernel.assign(np.eye(2))
        gaps = np.array([0.05, 0.15, 0.25, 0.35])
        x = np.stack([0.5 + gaps / 2, 0.5 - gaps / 2], axis=1)
        y = np.array([0, 0, 0, 1])
        accuracies = certificates.attacked_accuracy(
            model, x, y, epsilons=[0.0, 0.1, 0.15, 0.3]
        )
        self.assertEqual(
            accuracies, {0.0: 0.75, 0.1: 0.5, 0.15: 0.25, 0.3: 0.0}
        )
        report = certificates.certify(model, x, y)
        for epsilon, accuracy in accuracies.items():
            self.assertLessEqual(report.certified_accuracy(epsilon), accuracy)

    def test_attacks_in_linf_find_the_boundary_of_their_norm(self):
        # The boundary x1 = x2 is |x1 - x2| / 2 away in the largest change.
        model = keras.Sequential(
            [keras.Input((2,)), keras.layers.Dense(2, use_bias=False)]
        )
        model.layers[0].set_weights([np.eye(2)])
        gaps = np.array([0.05, 0.15, 0.25, 0.35])
        x = np.stack([0.5 + gaps / 2, 0.5 - gaps / 2], axis=1)
        accuracies = certificates.attacked_accuracy(
            model, x, np.zeros(4, int), [0.0, 0.05, 0.15], steps=5, norm="linf"
        )
        self.assertEqual(accuracies, {0.0: 1.0, 0.05: 0.75, 0.15: 0.25})

    @parameterized.parameters("l2", "linf")
    def test_one_output_is_attacked(self, norm):
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        weights = [np.array([[2.0], [0.0]]), np.array([-1.0])]
        model.layers[0].set_weights(weights)
        # The boundary is at 1/2, in both norms.
        x = np.array([[0.55, 0.5], [0.65, 0.5], [0.35, 0.5], [0.75, 0.5]])
        accuracies = certificates.attacked_accuracy(
            model, x, [1, 1, -1, -1], [0.0, 0.1, 0.2], steps=5, norm=norm
        )
        self.assertEqual(accuracies, {0.0: 0.75, 0.1: 0.5, 0.2: 0.0})

    @parameterized.parameters(
        ("l2", ["pgd", "deepfool", "ddn"]),
        ("linf", ["pgd", "deepfool", "fgsm"]),
    )
    def test_every_attack_can_be_run_alone(self, norm, names):
        model = keras.Sequential(
            [keras.Input((2,)), keras.layers.Dense(2, use_bias=False)]
        )
        model.layers[0].set_weights([np.eye(2)])
        x, y = np.array([[0.55, 0.45], [0.9, 0.1]]), [0, 0]
        for name in names:
            # Steps of a fortieth of the radius, from anywhere in it.
            accuracies = certificates.attacked_accuracy(
                model, x, y, [0.2], steps=100, norm=norm, attacks=[name]
            )
            self.assertEqual(accuracies, {0.2: 0.5})
        with mock.patch(
            "foolbox.attacks.L2ProjectedGradientDescentAttack.__call__",
            side_effect=AssertionError,
        ):
            certificates.attacked_accuracy(
                model, x, y, [0.2], steps=5, attacks=["deepfool"]
            )

    def test_bad_input_is_refused(self):
        model = models.LipschitzSequential(
            [keras.Input((2,)), layers.UnitNormDense(2)]
        )
        x, y = np.zeros((3, 2)), np.zeros(3, int)
        attack = certificates.attacked_accuracy
        with self.assertRaisesRegex(ValueError, "`epsilons` must be"):
            attack(model, x, y, epsilons=[-1])
        with self.assertRaisesRegex(ValueError, "`steps` must be"):
            attack(model, x, y, steps=0)
        with self.assertRaisesRegex(ValueError, "Unknown norm: 'l1'"):
            attack(model, x, y, norm="l1")
        with self.assertRaisesRegex(ValueError, "Unknown attack: 'fgsm'"):
            attack(model, x, y, attacks=["fgsm"])
        with self.assertRaisesRegex(ValueError, "`attacks` must be a list"):
            attack(model, x, y, attacks="pgd")
        with self.assertRaisesRegex(ValueError, "within `bounds`.*to 2.0"):
            attack(model, x + 2, y)
        with self.assertRaisesRegex(ValueError, "`bounds` must be"):
            attack(model, x, y, bounds=(1.0, 0.0))
        with self.assertRaisesRegex(ValueError, "`y` must be given"):
            attack(model, x)
        with mock.patch.dict(sys.modules, {"foolbox": None}):
            with self.assertRaisesRegex(ImportError, r"keras-lip\[attacks\]"):
                attack(model, x, y)
