import importlib.util
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
        ("l2", ["pgd", "deepfool", "ddn", "fgsm", "pgd_cw", "pointwise"]),
        ("linf", ["pgd", "deepfool", "fgsm", "pgd_cw"]),
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

    def test_boundary_attack_finds_the_boundary_of_a_linear_model(self):
        model = keras.Sequential(
            [keras.Input((2,)), keras.layers.Dense(2, use_bias=False)]
        )
        model.layers[0].set_weights([np.eye(2)])
        gaps = np.array([0.1, 0.2, 0.3])
        x = np.stack([0.5 + gaps / 2, 0.5 - gaps / 2], axis=1)
        # The distances are 0.071, 0.141 and 0.212.
        accuracies = certificates.attacked_accuracy(
            model,
            x,
            np.zeros(3, int),
            [0.06, 0.1, 0.17, 0.25],
            steps=500,
            attacks=["boundary"],
        )
        self.assertAllClose(list(accuracies.values()), [1, 2 / 3, 1 / 3, 0])

    @parameterized.parameters("boundary", "pointwise")
    def test_decision_attacks_skip_samples_that_no_noise_changes(self, name):
        # The second class needs a first input below 1e-4.
        model = keras.Sequential(
            [keras.Input((2,)), keras.layers.Dense(2, use_bias=True)]
        )
        model.layers[0].set_weights(
            [np.array([[1e4, 0.0], [0.0, 0.0]]), np.array([0.0, 1e-4])]
        )
        x = np.array([[0.5, 0.5], [0.0, 0.5]])
        found = certificates.attacked_accuracy(
            model, x, [0, 0], [1.0], steps=5, attacks=[name]
        )
        self.assertEqual(found, {1.0: 0.5})

    def test_loss_of_the_margin_works_where_the_crossentropy_vanishes(self):
        # Logits of thousands: in float32 the crossentropy is exactly zero.
        model = keras.Sequential(
            [keras.Input((2,)), keras.layers.Dense(2, use_bias=False)]
        )
        model.layers[0].set_weights([1e5 * np.eye(2)])
        # The boundary is 0.071 away, or 0.1 if one logit alone moves.
        x, y = np.array([[0.55, 0.45], [0.9, 0.1]]), [0, 0]
        found = {
            name: certificates.attacked_accuracy(
                model, x, y, [0.08], steps=100, attacks=[name]
            )[0.08]
            for name in ("pgd", "pgd_cw")
        }
        self.assertEqual(found, {"pgd": 1.0, "pgd_cw": 0.5})

    def make_image_model(self):
        """A model whose boundary is at a mean of a half, for two classes."""
        model = keras.Sequential(
            [
                keras.Input((8, 6, 1)),
                keras.layers.Flatten(),
                keras.layers.Dense(4),
            ]
        )
        kernel = np.zeros((48, 4))
        kernel[:, 0] = 1 / 48
        bias = np.array([0.0, 0.5, -1.0, -1.0])
        model.layers[-1].set_weights([kernel, bias])
        return model

    def test_autoattack_finds_the_boundary_of_a_linear_model(self):
        if keras.backend.backend() != "torch":
            self.skipTest("AutoAttack runs on PyTorch.")
        if importlib.util.find_spec("pyautoattack") is None:
            self.skipTest("The extra `autoattack` is not installed.")
        model = self.make_image_model()
        means = np.array([0.52, 0.55, 0.3])
        x = np.broadcast_to(means[:, None, None, None], (3, 8, 6, 1))
        # A mean changes by 0.02 with a perturbation of 0.02 * sqrt(48).
        radius = 0.02 * np.sqrt(48)
        found = certificates.attacked_accuracy(
            model,
            x,
            [0, 0, 1],
            [0.0, 0.9 * radius, 1.1 * radius],
            bounds=(-1.0, 1.0),
            attacks=["autoattack"],
        )
        self.assertAllClose(list(found.values()), [1.0, 1.0, 2 / 3])

    def test_autoattack_refuses_what_it_cannot_attack(self):
        attack = certificates.attacked_accuracy
        model = self.make_image_model()
        x, y = np.full((1, 8, 6, 1), 0.7), [0]
        names = ["autoattack"]
        if keras.backend.backend() != "torch":
            with self.assertRaisesRegex(ValueError, "on the torch backend"):
                attack(model, x, y, attacks=names)
            return
        with mock.patch.dict(sys.modules, {"pyautoattack": None}):
            with self.assertRaisesRegex(ImportError, r"\[autoattack\]"):
                attack(model, x, y, attacks=names)
        few = keras.Sequential([model, layers.TruncateChannels(3)])
        with self.assertRaisesRegex(ValueError, "least 4 logits.*and 3 logi"):
            attack(few, x, y, attacks=names)
        flat = keras.Sequential([keras.Input((2,)), keras.layers.Dense(5)])
        with self.assertRaisesRegex(ValueError, "classifier of images"):
            attack(flat, x[0, 0, :2].T, y, attacks=names)

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
        with self.assertRaisesRegex(ValueError, "Unknown attack: 'ddn'"):
            attack(model, x, y, attacks=["ddn"], norm="linf")
        with self.assertRaisesRegex(ValueError, "Unknown attack: 'boundary'"):
            attack(model, x, y, attacks=["boundary"], norm="linf")
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
