import importlib.util
from unittest import mock

import keras
import keras_tuner
import numpy as np
import pytest

import keras_lip as kl
from keras_lip.models.training_data import LossGuard
from keras_lip.tuning.base_hyper_model import NoisyBatches
from keras_lip.tuning.hyper_convex_potential_net import HyperConvexPotentialNet
from keras_lip.tuning.hyper_lipschitz_conv_net import HyperLipschitzConvNet
from keras_lip.tuning.hyper_lipschitz_mlp import HyperLipschitzMLP
from tests.lipschitz_test_case import LipschitzTestCase
from tuning.hyper_models import make_hyper_model

pytestmark = pytest.mark.slow


SMALL = {"depth": 1, "units": 64}


class HyperModelTest(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        self.x = self.normal(24, 4, 4, 1)
        self.y = np.arange(24) % 3
        self.parameters = keras_tuner.HyperParameters()
        self.parameters.values = dict(SMALL)

    def fit(self, **kwargs):
        hyper_model = HyperLipschitzMLP((4, 4, 1), 3, epsilon=0.1)
        model = hyper_model.build(self.parameters)
        metrics = hyper_model.fit(
            self.parameters,
            model,
            self.x,
            self.y,
            validation_data=(self.x, self.y),
            **kwargs,
        )
        return model, metrics

    def test_metrics_are_those_of_a_certificate(self):
        model, metrics = self.fit(epochs=3, batch_size=8)
        report = kl.certificates.certify(model, self.x, self.y, [0.1])
        self.assertEqual(metrics["val_accuracy"], report.accuracy)
        self.assertEqual(
            metrics["val_certified_accuracy"], report.certified_accuracy(0.1)
        )
        signs = np.where(report.prediction == report.label, 1, -1)
        self.assertAlmostEqual(
            metrics["val_mean_certifiable_robustness"],
            np.mean(signs * report.radius),
        )

    def test_the_rate_of_learning_rises_and_falls_to_zero(self):
        model, _ = self.fit(epochs=40, initial_epoch=20, batch_size=12)
        schedule = model.optimizer._learning_rate
        rates = [float(schedule(step)) for step in (0, 2, 40)]
        self.assertAllClose(rates, [0.0006, 0.06, 0.0], atol=1e-7)

    def test_a_training_that_diverges_fails(self):
        self.x[0] = np.inf
        # As if it were after the first step, whose loss the model looks at.
        guard = mock.patch.object(LossGuard, "on_train_batch_end")
        with (
            guard,
            self.assertRaisesRegex(
                keras_tuner.errors.FailedTrialError,
                "The loss of epoch 1 is nan",
            ),
        ):
            self.fit(epochs=3)

    def test_a_tuner_of_keras_tuner_takes_it(self):
        tuner = keras_tuner.RandomSearch(
            HyperLipschitzMLP((4, 4, 1), 3, epsilon=0.1),
            keras_tuner.Objective("val_certified_accuracy", "max"),
            max_trials=1,
            directory=self.temporary_path("search"),
        )
        validation = (self.x, self.y)
        with mock.patch.object(
            HyperLipschitzMLP, "build_layers", build_one_layer
        ):
            tuner.search(
                *validation, validation_data=validation, epochs=1, verbose=0
            )
        self.assertEqual(tuner.oracle.get_best_trials()[0].status, "COMPLETED")

    def test_unknown_names_list_the_known_ones(self):
        with self.assertRaisesRegex(
            ValueError, "'convex_potential', 'convnet'"
        ):
            make_hyper_model("cnn", (4, 4, 1), 3, 0.1)

    def test_bad_arguments_are_refused(self):
        with self.assertRaisesRegex(ValueError, "`epsilon`.*greater than 0"):
            HyperLipschitzMLP((4, 4, 1), 3, epsilon=0.0)
        with self.assertRaisesRegex(ValueError, "`classes` must be at least 2"):
            HyperLipschitzMLP((4, 4, 1), 1, epsilon=0.1)
        with self.assertRaisesRegex(ValueError, "`input_shape` must be"):
            HyperLipschitzMLP((16,), 3, epsilon=0.1)

    def test_images_that_do_not_fit_are_refused(self):
        odd = HyperLipschitzConvNet((7, 7, 1), 3, epsilon=0.1)
        with self.assertRaisesRegex(ValueError, "must be even.*7, 7, 1"):
            odd.build(self.parameters)
        for shape in ((7, 8, 1), (8, 8, 5)):
            net = HyperConvexPotentialNet(shape, 3, epsilon=0.1)
            with self.assertRaisesRegex(ValueError, "channels at most 4"):
                net.build(self.parameters)

    def test_tensorboard_is_asked_for_under_tensorflow(self):
        with (
            mock.patch.object(
                keras.backend, "backend", return_value="tensorflow"
            ),
            mock.patch.object(importlib.util, "find_spec", return_value=None),
            self.assertRaisesRegex(ImportError, r"keras-lip\[tuning\]"),
        ):
            HyperLipschitzMLP((4, 4, 1), 3, epsilon=0.1)


def build_one_layer(self, hp):
    return [keras.layers.Flatten()]


class NoisyBatchesTest(LipschitzTestCase):
    def test_an_epoch_holds_every_sample_with_noise(self):
        x = np.arange(5.0).reshape(5, 1)
        batches = NoisyBatches(x, np.arange(5), 2, stddev=0.01, seed=0)
        self.assertLen(batches, 3)
        first = [batches[index] for index in range(3)]
        labels = np.concatenate([y for _, y in first])
        self.assertEqual(sorted(labels), list(range(5)))
        noise = np.concatenate([x for x, _ in first])[:, 0] - labels
        self.assertBetween(np.abs(noise).max(), 1e-4, 0.05)
        batches.on_epoch_end()
        again = np.concatenate([batches[index][1] for index in range(3)])
        self.assertFalse(np.array_equal(labels, again))
