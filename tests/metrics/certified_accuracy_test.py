import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import certificates
from keras_lip import layers
from keras_lip import losses
from keras_lip import metrics
from keras_lip import models
from tests.lipschitz_test_case import LipschitzTestCase

# Margins of 2, 1 and 0.2 over the next class; the last is misclassified.
LOGITS = [[3.0, 1.0, 0.0], [0.0, 2.0, 1.0], [0.2, 0.0, -1.0], [1.0, 0.0, 0.5]]
LABELS = [0, 1, 0, 2]


class CertifiedAccuracyTest(LipschitzTestCase):
    # The radii are margin / sqrt(2): 1.41421, 0.70711 and 0.14142.
    @parameterized.parameters(
        (0.0, 0.75), (0.141, 0.75), (0.142, 0.5), (0.7, 0.5), (0.71, 0.25)
    )
    def test_hand_computed_values(self, epsilon, expected):
        metric = metrics.CertifiedAccuracy(epsilon, lipschitz_bound=1.0)
        metric.update_state(LABELS, LOGITS)
        self.assertAllClose(metric.result(), expected)

    def test_radii_shrink_with_the_bound(self):
        for bound, expected in ((1.0, 0.5), (2.0, 0.25), (20.0, 0.0)):
            metric = metrics.CertifiedAccuracy(0.7, lipschitz_bound=bound)
            metric.update_state(LABELS, LOGITS)
            self.assertAllClose(metric.result(), expected)

    def test_labels_may_be_columns_or_one_hot(self):
        for labels in (np.array(LABELS)[:, None], np.eye(3)[LABELS]):
            metric = metrics.CertifiedAccuracy(0.5, lipschitz_bound=1.0)
            metric.update_state(labels, LOGITS)
            self.assertAllClose(metric.result(), 0.5)

    def test_uneven_batches_and_weights(self):
        metric = metrics.CertifiedAccuracy(0.5, lipschitz_bound=1.0)
        metric.update_state(LABELS[:3], LOGITS[:3])
        metric.update_state(LABELS[3:], LOGITS[3:])
        self.assertAllClose(metric.result(), 0.5)
        metric.reset_state()
        self.assertAllClose(metric.result(), 0.0)
        # (1 + 2) of (1 + 2 + 3 + 4).
        metric.update_state(LABELS, LOGITS, sample_weight=[1, 2, 3, 4])
        self.assertAllClose(metric.result(), 0.3)

    def test_ties_and_nan_are_not_certified(self):
        metric = metrics.CertifiedAccuracy(0.0, lipschitz_bound=1.0)
        metric.update_state([0, 1], [[1.0, 1.0], [0.0, np.nan]])
        self.assertAllClose(metric.result(), 0.0)

    def test_labels_that_are_no_class_are_not_certified(self):
        metric = metrics.CertifiedAccuracy(0.0, lipschitz_bound=1.0)
        metric.update_state([5, -1], [[1.0, 0.0], [0.0, 1.0]])
        self.assertAllClose(metric.result(), 0.0)

    def make_model(self, epsilon=0.1, head=None):
        model = models.LipschitzSequential(
            [
                keras.Input((6,)),
                keras.layers.Rescaling(2.0),
                layers.OrthogonalDense(6),
                layers.MaxMin(),
                head or layers.UnitNormDense(3),
            ]
        )
        metric = metrics.CertifiedAccuracy(epsilon)
        model.compile("adam", losses.MulticlassHinge(), metrics=[metric])
        return model, metric

    @parameterized.parameters(
        (layers.UnitNormDense, 0.0),
        (layers.OrthogonalDense, 0.1),
        (keras.layers.Dense, 0.3),
    )
    def test_evaluation_agrees_with_the_certificate(self, head, epsilon):
        x, y = self.normal(50, 6), self.rng.integers(0, 3, 50)
        model, _ = self.make_model(epsilon, head(3))
        history = model.fit(x, y, validation_data=(x, y), verbose=0).history
        report = certificates.certify(model, x, y)
        expected = report.certified_accuracy(epsilon)
        self.assertBetween(expected, 0.01, 0.99)
        self.assertAllClose(history["val_certified_accuracy"][-1], expected)
        # Constants are taken anew: the weights are others now.
        model.layers[1].free_kernel.assign(self.normal(6, 6))
        self.assertAllClose(
            model.evaluate(x, y, verbose=0)[1],
            certificates.certify(model, x, y).certified_accuracy(epsilon),
        )

    def test_training_follows_a_moving_head(self):
        # With a kernel of equal columns no margin can shrink; the metric must
        # see the columns part within the epoch.
        model, metric = self.make_model()
        head = model.layers[-1]
        head.free_kernel.assign(np.ones((6, 3)))
        x, y = self.normal(64, 6), self.rng.integers(0, 3, 64)
        constants = []

        def look(epoch, logs):
            (found,) = (v for v in metric.variables if v.name == "pair_bounds")
            constants[:] = keras.ops.convert_to_numpy(found)

        callback = keras.callbacks.LambdaCallback(on_epoch_end=look)
        model.fit(x, y, batch_size=8, callbacks=[callback], verbose=0)
        kernel = keras.ops.convert_to_numpy(head.kernel)
        distance = np.linalg.norm(kernel[:, 0] - kernel[:, 1])
        # As of the last step but one, of 1e-3.
        self.assertAllClose(constants[0][1], 2 * distance, rtol=0.3)
        self.assertGreater(constants[0][1], 1e-3)

    def test_metric_outside_of_a_lipschitz_model_needs_a_bound(self):
        metric = metrics.CertifiedAccuracy(0.1)
        with self.assertRaisesRegex(ValueError, "has no Lipschitz bound"):
            metric.update_state(LABELS, LOGITS)

    def test_plain_keras_model_with_a_given_bound(self):
        model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
        metric = metrics.CertifiedAccuracy(0.1, lipschitz_bound=4.0)
        model.compile("sgd", losses.MulticlassHinge(), metrics=[metric])
        model.fit(self.normal(8, 6), self.rng.integers(0, 3, 8), verbose=0)

    def test_config_round_trip(self):
        self.run_serialization_test(
            metrics.CertifiedAccuracy(0.3, lipschitz_bound=2.0, name="vra")
        )

    def test_bad_input_is_refused(self):
        for epsilon in (-0.1, float("nan"), "0.1"):
            with self.assertRaisesRegex(ValueError, "`epsilon` must be"):
                metrics.CertifiedAccuracy(epsilon)
        with self.assertRaisesRegex(ValueError, "`lipschitz_bound` must be"):
            metrics.CertifiedAccuracy(0.1, lipschitz_bound=-1.0)
        metric = metrics.CertifiedAccuracy(0.1, lipschitz_bound=1.0)
        with self.assertRaisesRegex(ValueError, r"y_true of shape \(4, 2\)"):
            metric.update_state(np.zeros((4, 2)), LOGITS)
        with self.assertRaisesRegex(ValueError, "BinaryCertifiedAccuracy"):
            metric.update_state([0, 1], [[1.0], [2.0]])
