import importlib
from unittest import mock

import keras
import numpy as np
from keras import layers

import keras_lip as kl
from keras_lip.certificates import certify
from tests.mutations.mutation_test_case import MutationTestCase
from tests.mutations.mutation_test_case import Planted
from tests.mutations.mutation_test_case import both

WATCH = importlib.import_module("keras_lip.models.evaluation_watch")
METRIC = importlib.import_module("keras_lip.metrics.certified_metric")


class Disturb(keras.callbacks.Callback):
    """Changes the weights in the middle of an evaluation."""

    def on_test_batch_end(self, batch, logs=None):
        if batch == 0:
            self.model.layers[-1].kernel.assign(100 * np.eye(2))


def keep_version():
    """Makes a context in which all weights are taken for the same."""
    return mock.patch.object(WATCH, "digest_model", lambda model: "0")


def keep_constants():
    """Makes a context in which constants are proven only once."""
    prove = WATCH.EvaluationWatch._prove

    def prove_once(watch, program):
        if not watch._taken:
            prove(watch, program)

    return mock.patch.object(WATCH.EvaluationWatch, "_prove", prove_once)


def blind():
    """Makes a context in which no answer of a model is looked at."""
    return mock.patch.object(
        WATCH,
        "measure",
        lambda found, outputs: (np.zeros(len(found)), np.ones(len(found))),
    )


class MetricMutationsTest(MutationTestCase):
    def make_model(self):
        model = kl.models.LipschitzSequential(
            [keras.Input((2,)), layers.Dense(2, use_bias=False)]
        )
        model.layers[-1].set_weights([np.eye(2)])
        metric = kl.metrics.CertifiedAccuracy(0.1)
        model.compile("sgd", kl.losses.MulticlassHinge(), metrics=[metric])
        return model

    def draw(self):
        x = self.rng.normal(size=(64, 2)).astype("float32")
        return x, np.argmax(x, axis=1)

    def check_evaluation(self):
        """An evaluation certifies as much as the certificate of its model."""
        model, (x, y) = self.make_model(), self.draw()
        model.evaluate(x, y, verbose=0)
        model.layers[-1].kernel.assign(10 * np.eye(2))
        _, found = model.evaluate(x, y, verbose=0)
        exact = certify(model, x, y).certified_accuracy(0.1)
        self.assertBetween(exact, 0.01, 0.99)
        self.assertAlmostEqual(found, exact)

    def test_constants_of_before_the_last_step(self):
        self.assertCaught(keep_constants(), self.check_evaluation)
        # They would be caught if no answer of the model were looked at, too.
        self.assertCaught(
            Planted(lambda: both(keep_constants(), blind())),
            self.check_evaluation,
        )

    def test_constants_of_no_model(self):
        mutation = mock.patch.object(
            METRIC,
            "float32_up",
            lambda values: np.ones(np.shape(values), "float32"),
        )
        self.assertCaught(mutation, self.check_evaluation)

    def test_weights_that_change_unseen(self):
        def check():
            model, (x, y) = self.make_model(), self.draw()
            with self.assertRaisesRegex(ValueError, "changed during an evalua"):
                model.evaluate(
                    x, y, batch_size=16, verbose=0, callbacks=[Disturb()]
                )

        self.assertCaught(keep_version(), check)

    def test_function_that_is_another_one_unseen(self):
        call = layers.Dense.call

        def shorter(layer, inputs, training=None):
            return 2 * call(layer, inputs)

        def check():
            with mock.patch.object(layers.Dense, "call", shorter):
                model, (x, y) = self.make_model(), self.draw()
                with self.assertRaisesRegex(ValueError, "another function"):
                    model.evaluate(x, y, verbose=0)

        self.assertCaught(blind(), check)
