"""Certified metrics refuse what is not an evaluation of their model."""

import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import metrics
from keras_lip import models
from tests.marks import on_pytorch_alone
from tests.metrics.certified_metric_test_case import EPSILON
from tests.metrics.certified_metric_test_case import CertifiedMetricTestCase


class EvaluationWatchTest(CertifiedMetricTestCase):
    def test_step_that_computes_no_loss_is_refused(self):
        if keras.backend.backend() == "jax":
            self.skipTest("The steps of JAX pass on a state.")

        class Boastful(models.LipschitzSequential):
            def test_step(self, data):
                x, y = data
                outputs = 100 * self(x, training=False)
                return self.compute_metrics(x, y, outputs)

        model = self.make_model(model_class=Boastful)
        with self.assertRaises(ValueError):
            self.evaluate(model)

    def test_metric_certifies_nothing_outside_of_an_evaluation(self):
        metric = metrics.CertifiedAccuracy(EPSILON)
        model = self.make_model(metric)
        self.assertEvaluated(model)
        outputs = model(self.x)
        metric.reset_state()
        metric.update_state(self.y, outputs)
        self.assertEqual(float(metric.result()), 0.0)
        other = keras.Sequential([model, keras.layers.Rescaling(10.0)])
        other.compile(loss="mse", metrics=[metric])
        labels = np.eye(3)[self.y]
        self.assertEqual(other.evaluate(self.x, labels, verbose=0)[1], 0.0)
        # A validation leaves the constants of training.
        history = model.fit(
            self.x,
            self.y,
            epochs=2,
            validation_data=(self.x, self.y),
            verbose=0,
        ).history
        self.assertGreater(min(history["certified_accuracy"]), 0.0)
        self.assertGreater(min(history["val_certified_accuracy"]), 0.0)
        metric.reset_state()
        metric.update_state(self.y, outputs)
        self.assertEqual(float(metric.result()), 0.0)

    def test_metric_certifies_nothing_before_an_evaluation(self):
        """Nor that of another model in a callback of training."""
        metric = metrics.MeanCertifiedRadius()
        model = self.make_model(metric)
        metric.update_state(self.y, 10 * model(self.x))
        self.assertEqual(float(metric.result()), 0.0)
        other = keras.Sequential([model, keras.layers.Rescaling(10.0)])
        other.compile(loss="mse", metrics=[metric])
        labels, found = np.eye(3)[self.y], []
        # Keras resets only metrics that are built.
        other.evaluate(self.x, labels, verbose=0)

        def evaluate(epoch, logs):
            found.append(other.evaluate(self.x, labels, verbose=0)[1])

        model.fit(
            self.x,
            self.y,
            verbose=0,
            callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=evaluate)],
        )
        self.assertEqual(found, [0.0])
        self.assertGreater(self.evaluate(model), 0.0)

    def test_metrics_of_other_outputs_are_refused(self):
        class Warm(models.LipschitzSequential):
            share = 1.0

            def compute_metrics(self, x, y, y_pred, sample_weight=None):
                return super().compute_metrics(
                    x, y, self.share * y_pred, sample_weight
                )

        for share in (1.0, 4.0, -1.0):
            model = self.make_model(model_class=Warm)
            model.share = share
            if share == 1.0:
                self.assertEvaluated(model)
                continue
            with self.assertRaisesRegex(ValueError, "evaluates other outputs"):
                self.evaluate(model)

    def test_outputs_that_are_not_finite_are_no_others(self):
        model = self.make_model()
        for value in (np.nan, np.inf, 1e37):
            x = self.x.copy()
            x[0] = value
            model.evaluate(x, self.y, verbose=0)

    def test_metric_that_is_given_twice_counts_twice(self):
        metric = metrics.CertifiedAccuracy(EPSILON)
        model = self.make_model(metric, weighted_metrics=[metric])
        self.assertEvaluated(model)

    def test_metrics_before_the_loss_are_refused(self):
        if keras.backend.backend() == "jax":
            self.skipTest("The steps of JAX pass on a state.")

        class Hasty(models.LipschitzSequential):
            def test_step(self, data):
                x, y = data
                outputs = self(x, training=False)
                logs = self.compute_metrics(x, y, outputs)
                self.compute_loss(x, y, outputs, training=False)
                return logs

        model = self.make_model(model_class=Hasty)
        for _ in range(2):
            with self.assertRaisesRegex(ValueError, "before the metrics are"):
                self.evaluate(model)

    def test_step_that_tells_no_inputs_is_refused(self):
        if keras.backend.backend() == "jax":
            self.skipTest("The steps of JAX pass on a state.")

        class Blind(models.LipschitzSequential):
            def test_step(self, data):
                x, y = data
                outputs = self(x, training=False)
                self.compute_loss(y=y, y_pred=outputs, training=False)
                return self.compute_metrics(x, y, outputs)

        model = self.make_model(model_class=Blind)
        with self.assertRaisesRegex(ValueError, "does not pass its inputs"):
            self.evaluate(model)

    def make_own_step(self, share):
        """A model with a `test_step` that multiplies its outputs."""

        class Own(models.LipschitzSequential):
            if keras.backend.backend() == "jax":

                def test_step(self, state, data):
                    trainable, others, counts = state
                    x, y = data
                    outputs, others = self.stateless_call(
                        trainable, others, x, training=False
                    )
                    outputs *= share
                    loss, (_, _, counts) = self.stateless_compute_loss(
                        *(trainable, others, counts),
                        *(x, y, outputs),
                        training=False,
                    )
                    logs, counts = self._update_metrics_variables(
                        counts, loss, x, y, outputs, None
                    )
                    return logs, (trainable, others, counts)

            else:

                def test_step(self, data):
                    x, y = data
                    outputs = share * self(x, training=False)
                    self.compute_loss(x, y, outputs, training=False)
                    return self.compute_metrics(x, y, outputs)

        model = self.make_model(model_class=Own)
        return model

    def test_step_that_evaluates_other_outputs_is_refused(self):
        self.assertEvaluated(self.make_own_step(1.0))
        model = self.make_own_step(10.0)
        for _ in range(2):
            with self.assertRaisesRegex(
                ValueError, "`test_step`.*evaluates other outputs"
            ):
                self.evaluate(model)

    @parameterized.named_parameters(("known", True), ("unknown", False))
    def test_images_of_another_size_are_refused(self, known):
        class Images(models.LipschitzModel):
            def __init__(self):
                super().__init__()
                self.pool = keras.layers.GlobalMaxPooling2D()
                self.head = keras.layers.Dense(3)

            def call(self, inputs):
                return self.head(self.pool(inputs))

        model = Images()
        model(np.zeros((1, 2, 2, 4)))
        model.compile("sgd", "mse", metrics=[metrics.CertifiedAccuracy(0.1)])

        def data(side):
            x = np.zeros((4, side, side, 4), "float32")
            y = np.eye(3, dtype="float32")[[0, 1, 2, 0]]
            if known or keras.backend.backend() != "tensorflow":
                return x, y
            import tensorflow as tf

            signature = (
                tf.TensorSpec((None, None, None, 4)),
                tf.TensorSpec((None, 3)),
            )
            stream = tf.data.Dataset.from_generator(
                lambda: iter([(x, y)]), output_signature=signature
            )
            return (stream.repeat(),)

        model.evaluate(*data(2), steps=1, verbose=0)
        with self.assertRaisesRegex(ValueError, r"shape \(2, 2, 4\), without"):
            model.evaluate(*data(3), steps=1, verbose=0)
        model.evaluate(*data(2), steps=1, verbose=0)

    @on_pytorch_alone
    def test_autocast_does_not_round_the_constants(self):
        import torch

        bound = 1.0019
        metric = metrics.CertifiedAccuracy(1.0, lipschitz_bound=bound)
        needed = np.sqrt(2) * bound
        # Between the constant and its rounding to bfloat16.
        rounded = float(torch.tensor(needed, dtype=torch.bfloat16))
        self.assertLess(rounded, needed - 1e-3)
        logits = torch.tensor([[(rounded + needed) / 2, 0.0, -5.0]])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            metric.update_state([0], logits)
        self.assertEqual(float(metric.result()), 0.0)
