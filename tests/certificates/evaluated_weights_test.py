import keras
import numpy as np

from keras_lip import certificates
from keras_lip import metrics
from keras_lip import models
from tests.lipschitz_test_case import LipschitzTestCase


class EvaluatedWeightsTest(LipschitzTestCase):
    """`evaluate` proves what it counts of the weights that it runs."""

    X = np.array([[0.5, 0.1], [0.1, 0.5]], "float32")
    Y = np.eye(2, dtype="float32")

    def make_model(self, optimizer="sgd", **kwargs):
        model = models.LipschitzSequential(
            [keras.Input((2,)), keras.layers.Dense(2)]
        )
        metric = metrics.CertifiedAccuracy(0.2, name="certified")
        model.compile(optimizer, "mse", metrics=[metric], **kwargs)
        return model

    def evaluate(self, model, **kwargs):
        return model.evaluate(
            self.X, self.Y, verbose=0, return_dict=True, **kwargs
        )["certified"]

    def test_averaged_weights_that_are_swapped_in(self):
        optimizer = keras.optimizers.SGD(0.0, use_ema=True, ema_momentum=0.0)
        model = self.make_model(optimizer)
        # Margins are 0.28 apart from the other class, whatever the scale.
        model.set_weights([10 * np.eye(2)[:, ::-1], np.zeros(2)])
        model.fit(self.X, self.Y, verbose=0)
        model.set_weights([np.eye(2), np.zeros(2)])
        self.assertEqual(self.evaluate(model), 1.0)
        callback = keras.callbacks.SwapEMAWeights()
        callback.set_model(model)
        self.assertEqual(self.evaluate(model, callbacks=[callback]), 0.0)
        self.assertEqual(self.evaluate(model), 1.0)

    def test_weights_that_a_callback_sets_before_the_test(self):
        class Scale(keras.callbacks.Callback):
            def on_test_begin(self, logs=None):
                kernel = np.array([[1.0, 0.9], [0.9, 1.0]])
                self.model.set_weights([kernel, np.array([0.0, 0.3])])

        model = self.make_model()
        model.set_weights([np.eye(2), np.zeros(2)])
        self.assertEqual(self.evaluate(model), 1.0)
        found = self.evaluate(model, callbacks=[Scale()])
        report = certificates.certify(model, self.X, self.Y, epsilons=[0.2])
        self.assertEqual(found, report.certified_accuracy(0.2))
        self.assertLess(found, 1.0)

    def test_weights_that_change_between_batches_are_refused(self):
        class Scale(keras.callbacks.Callback):
            def on_test_batch_end(self, batch, logs=None):
                kernel = self.model.layers[0].kernel
                kernel.assign(kernel * 0.5 + 0.1)

        model = self.make_model()
        model.set_weights([np.eye(2), np.zeros(2)])
        with self.assertRaisesRegex(ValueError, "weights"):
            self.evaluate(model, callbacks=[Scale()], batch_size=1)

    def test_all_ways_to_run_a_step_count_the_same(self):
        ways = [{"run_eagerly": True}]
        if keras.backend.backend() != "torch":
            ways += [{"jit_compile": True}, {"steps_per_execution": 2}]
        for way in ways:
            with self.subTest(**way):
                model = self.make_model(**way)
                model.set_weights([np.eye(2), np.array([0.0, 0.2])])
                report = certificates.certify(
                    model, self.X, self.Y, epsilons=[0.2]
                )
                self.assertEqual(
                    self.evaluate(model, batch_size=1),
                    report.certified_accuracy(0.2),
                )
                model.set_weights([np.eye(2), np.zeros(2)])
                self.assertEqual(self.evaluate(model, batch_size=1), 1.0)

    def test_training_moves_what_validation_counts(self):
        model = self.make_model(keras.optimizers.SGD(0.5))
        history = model.fit(
            self.X,
            self.Y,
            epochs=3,
            verbose=0,
            validation_data=(self.X, self.Y),
        ).history["val_certified"]
        self.assertLen(history, 3)
        self.assertEqual(history[-1], self.evaluate(model))
        report = certificates.certify(model, self.X, self.Y, epsilons=[0.2])
        self.assertEqual(history[-1], report.certified_accuracy(0.2))
