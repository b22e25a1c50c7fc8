import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import certificates
from keras_lip import layers
from keras_lip import losses
from keras_lip import metrics
from keras_lip import models
from tests.lipschitz_test_case import LipschitzTestCase


class BinaryCertifiedAccuracyTest(LipschitzTestCase):
    @parameterized.parameters(
        ((1, 0, 1, 0),), ((1, -1, 1, -1),), (((1,), (0,), (1,), (0,)),)
    )
    def test_hand_computed_values(self, labels):
        # Radii of 1, 0.25 and 0.05; the last is misclassified.
        logits = [[2.0], [-0.5], [0.1], [0.3]]
        for epsilon, expected in ((0.0, 0.75), (0.1, 0.5), (0.3, 0.25), (1, 0)):
            metric = metrics.BinaryCertifiedAccuracy(epsilon, 2.0)
            metric.update_state(labels, logits)
            self.assertAllClose(metric.result(), expected)

    def test_zero_and_nan_are_not_certified(self):
        metric = metrics.BinaryCertifiedAccuracy(0.0, 1.0)
        metric.update_state([1, 0, 1], [[0.0], [0.0], [np.nan]])
        self.assertAllClose(metric.result(), 0.0)

    def test_evaluation_agrees_with_the_certificate(self):
        model = models.LipschitzSequential(
            [
                keras.Input((6,)),
                layers.OrthogonalDense(4),
                layers.MaxMin(),
                layers.OrthogonalDense(1),
            ]
        )
        metric = metrics.BinaryCertifiedAccuracy(0.2)
        model.compile("adam", losses.HKR(alpha=5.0), metrics=[metric])
        x = self.normal(40, 6)
        y = (x[:, 0] > 0).astype(int)
        history = model.fit(x, y, validation_data=(x, y), verbose=0).history
        report = certificates.certify(model, x, y)
        expected = report.certified_accuracy(0.2)
        self.assertBetween(expected, 0.01, 0.99)
        self.assertAllClose(
            history["val_binary_certified_accuracy"][-1], expected
        )

    def test_config_round_trip(self):
        self.run_serialization_test(metrics.BinaryCertifiedAccuracy(0.3, 2.0))

    def test_bad_input_is_refused(self):
        with self.assertRaisesRegex(ValueError, "`epsilon` must be"):
            metrics.BinaryCertifiedAccuracy(-1)
        metric = metrics.BinaryCertifiedAccuracy(0.1, 1.0)
        with self.assertRaisesRegex(ValueError, "use `CertifiedAccuracy`"):
            metric.update_state([0, 1], [[1.0, 2.0], [2.0, 1.0]])
