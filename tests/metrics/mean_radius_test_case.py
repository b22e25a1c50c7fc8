"""What the tests of both means of radii share."""

import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import certificates
from keras_lip import layers
from keras_lip import losses
from keras_lip import models
from tests.lipschitz_test_case import LipschitzTestCase

# Margins of 2, 1 and 0.2 over the next class; the last is wrong by 0.5.
LOGITS = [[3.0, 1.0, 0.0], [0.0, 2.0, 1.0], [0.2, 0.0, -1.0], [1.0, 0.0, 0.5]]
LABELS = [0, 1, 0, 2]


class MeanRadiusTestCase(LipschitzTestCase):
    """Derive from it with a `metric_cls` and a `wrong`.

    A sample that is classified wrongly counts as `wrong` times its radius.
    """

    metric_cls = None
    wrong = None

    def expected(self, report):
        right = report.prediction == report.label
        return np.where(right, report.radius, self.wrong * report.radius).mean()

    def assertResult(self, metric, expected):
        self.assertAllClose(metric.result(), expected)

    def test_hand_computed_values(self):
        for bound in (1.0, 2.0):
            metric = self.metric_cls(bound)
            metric.update_state(LABELS, LOGITS)
            total = (3.2 + 0.5 * self.wrong) / np.sqrt(2) / bound
            self.assertResult(metric, total / 4)

    def test_hand_computed_binary_values(self):
        for labels in ([1, 0, 1], [1, -1, 1], [[1], [0], [1]]):
            metric = self.metric_cls(2.0)
            metric.update_state(labels, [[2.0], [-0.5], [-3.0]])
            self.assertResult(metric, (1.0 + 0.25 + 1.5 * self.wrong) / 3)

    def test_one_hot_labels_uneven_batches_and_weights(self):
        metric = self.metric_cls(np.sqrt(0.5))
        metric.update_state(np.eye(3)[LABELS[:3]], LOGITS[:3])
        metric.update_state(np.eye(3)[LABELS[3:]], LOGITS[3:])
        self.assertResult(metric, (3.2 + 0.5 * self.wrong) / 4)
        metric.reset_state()
        self.assertResult(metric, 0.0)
        metric.update_state(LABELS[:1], LOGITS[:1], sample_weight=[4])
        metric.update_state(LABELS[1:], LOGITS[1:], sample_weight=[3, 2, 1])
        total = 4 * 2 + 3 * 1 + 2 * 0.2 + 0.5 * self.wrong
        self.assertResult(metric, total / 10)

    def test_labels_that_are_no_class_are_wrong(self):
        metric = self.metric_cls(np.sqrt(0.5))
        metric.update_state([7], [[1.0, 0.0]])
        self.assertResult(metric, self.wrong)

    def test_means_of_constant_classifiers_are_finite(self):
        metric = self.metric_cls(0.0)
        metric.update_state([0, 0, 1, 1], [[1.0, 0.0]] * 4)
        self.assertResult(metric, 0.5e30 * (1 + self.wrong))

    @parameterized.parameters(
        (layers.UnitNormDense, 3), (layers.OrthogonalDense, 1)
    )
    def test_evaluation_agrees_with_the_certificate(self, head, outputs):
        model = models.LipschitzSequential(
            [
                keras.Input((6,)),
                keras.layers.Rescaling(2.0),
                layers.OrthogonalDense(6),
                layers.MaxMin(),
                head(outputs),
            ]
        )
        loss = losses.MulticlassHinge() if outputs > 1 else losses.HKR()
        model.compile("adam", loss, metrics=[self.metric_cls()])
        x = self.normal(50, 6)
        y = self.rng.integers(0, max(outputs, 2), 50)
        model.fit(x, y, batch_size=16, verbose=0)
        report = certificates.certify(model, x, y)
        self.assertBetween(report.accuracy, 0.01, 0.99)
        _, value = model.evaluate(x, y, batch_size=16, verbose=0)
        # Logits of some 1 in float32.
        self.assertAllClose(value, self.expected(report), rtol=1e-5)

    def test_config_round_trip(self):
        self.run_serialization_test(self.metric_cls(2.0, name="radius"))

    def test_bad_input_is_refused(self):
        with self.assertRaisesRegex(ValueError, "`lipschitz_bound` must be"):
            self.metric_cls(-1.0)
        metric = self.metric_cls(1.0)
        with self.assertRaisesRegex(ValueError, r"y_true of shape \(4, 2\)"):
            metric.update_state(np.zeros((4, 2)), LOGITS)
        with self.assertRaisesRegex(ValueError, "has no Lipschitz bound"):
            self.metric_cls().update_state(LABELS, LOGITS)
