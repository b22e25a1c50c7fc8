"""What every certified metric keeps to, with weights, masks and in steps."""

import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import layers
from keras_lip import metrics
from keras_lip import models
from tests.lipschitz_test_case import LipschitzTestCase

R = np.sqrt(2.0)
LOGITS = np.array(
    [[3.0, 1.0, 0.0], [0.0, 2.0, 1.0], [0.2, 0.0, -1.0], [1.0, 0.0, 0.5]],
    "float32",
)
LABELS = np.array([0, 1, 0, 2])
SCORES = np.array([[3.0], [-2.0], [0.2], [-1.0]], "float32")
SIGNS = np.array([1, 0, 1, 1])

# The metric, its labels, its logits, and the value of each sample.
CASES = {
    "certified_accuracy": (
        metrics.CertifiedAccuracy(0.5, 1.0),
        LABELS,
        LOGITS,
        [1.0, 1.0, 0.0, 0.0],
    ),
    "binary_certified_accuracy": (
        metrics.BinaryCertifiedAccuracy(0.5, 1.0),
        SIGNS,
        SCORES,
        [1.0, 1.0, 0.0, 0.0],
    ),
    "mean_certified_radius": (
        metrics.MeanCertifiedRadius(1.0),
        LABELS,
        LOGITS,
        [2 / R, 1 / R, 0.2 / R, 0.0],
    ),
    "mean_certifiable_robustness": (
        metrics.MeanCertifiableRobustness(1.0),
        LABELS,
        LOGITS,
        [2 / R, 1 / R, 0.2 / R, -0.5 / R],
    ),
}
WEIGHTS = np.array([0.5, 1.0, 2.0, 0.25], "float32")
MASK = np.array([True, False, True, True])


class _Masked(keras.layers.Layer):
    """Gives its inputs a mask."""

    supports_masking = True

    def call(self, inputs):
        return inputs + 0.0

    def compute_mask(self, inputs, previous_mask=None):
        return keras.ops.convert_to_tensor(MASK)


class MetricContractTest(LipschitzTestCase):
    def value(self, metric, *args):
        metric.reset_state()
        metric.update_state(*args)
        return metric.result()

    @parameterized.parameters(*CASES)
    def test_hand_computed_values_with_weights_and_masks(self, name):
        metric, labels, logits, values = CASES[name]
        for weights in (None, 3.0, WEIGHTS, WEIGHTS[:, None]):
            each = np.ones(4) * (1.0 if weights is None else np.ravel(weights))
            self.assertAllClose(
                self.value(metric, labels, logits, weights),
                np.average(values, weights=each),
                1e-6,
            )
            self.assertAllClose(
                self.value(metric, labels, _Masked()(logits), weights),
                np.average(values, weights=each * MASK),
                1e-6,
            )

    @parameterized.product(
        name=list(CASES), label=[7.0, 0.2, -2.0, np.nan, np.inf]
    )
    def test_invalid_labels_are_never_correct(self, name, label):
        metric, labels, logits, values = CASES[name]
        wrong = labels.astype("float32")
        # Both samples would be correct with either label.
        wrong[:2] = label
        found = self.value(metric, wrong, logits)
        worst = np.array(values)
        worst[:2] = 0.0
        if name == "mean_certifiable_robustness":
            worst[:2] = -2 / R, -1 / R
        self.assertAllClose(found, np.mean(worst), 1e-6)

    @parameterized.parameters(*CASES)
    def test_labels_of_another_shape_are_refused(self, name):
        metric, labels, logits, _ = CASES[name]
        width = 2 if logits.shape[1] == 1 else 4
        for y_true in (np.ones((4, width)), labels[:, None, None]):
            with self.assertRaisesRegex(ValueError, "Labels must have shape"):
                self.value(metric, y_true, logits)

    @parameterized.parameters(*CASES)
    def test_uneven_batches_count_by_their_samples(self, name):
        metric, labels, logits, values = CASES[name]
        metric.reset_state()
        for part in (slice(0, 3), slice(3, 4), slice(4, 4)):
            metric.update_state(labels[part], logits[part], WEIGHTS[part])
        self.assertAllClose(
            metric.result(), np.average(values, weights=WEIGHTS), 1e-6
        )

    @parameterized.parameters(*CASES)
    def test_all_weights_of_zero_are_no_sample(self, name):
        metric, labels, logits, _ = CASES[name]
        self.assertAllClose(self.value(metric, labels, logits, 0.0), 0.0)

    @parameterized.parameters(*CASES)
    def test_compiled_steps_weigh_as_numpy_does(self, name):
        metric, labels, logits, values = CASES[name]
        width = logits.shape[1]
        head = layers.UnitNormDense(
            width, use_bias=False, kernel_initializer="identity"
        )
        model = models.LipschitzSequential([keras.Input((width,)), head])
        copy = type(metric).from_config(metric.get_config())
        still = keras.optimizers.SGD(0.0)
        model.compile(still, "mse", weighted_metrics=[copy])
        options = {"batch_size": 3, "verbose": 0, "return_dict": True}
        one_hot = np.eye(3)[labels] if logits.shape[1] > 1 else labels[:, None]
        found = model.evaluate(
            logits, one_hot, sample_weight=WEIGHTS, **options
        )
        self.assertAllClose(
            found[copy.name], np.average(values, weights=WEIGHTS), 1e-6
        )
        history = model.fit(
            logits,
            labels[:, None].astype("float32"),
            class_weight={0: 1.0, 1: 2.0, 2: 4.0},
            batch_size=3,
            verbose=0,
        ).history
        weights = np.array([1.0, 2.0, 4.0])[labels]
        self.assertAllClose(
            history[copy.name], [np.average(values, weights=weights)], 1e-6
        )

    @parameterized.parameters(*CASES)
    def test_wrong_shapes_are_refused(self, name):
        metric, labels, logits, _ = CASES[name]
        for wrong, message in (
            ((labels, logits[:, :, None]), "Logits must have shape"),
            ((labels, logits[:, 0]), "Logits must have shape"),
            ((labels[:3], logits), "one label for each row"),
            ((labels, logits, WEIGHTS[:3]), "`sample_weight` must be a"),
            ((labels, logits, np.ones((4, 3))), "`sample_weight` must be a"),
        ):
            with self.assertRaisesRegex(ValueError, message):
                metric.update_state(*wrong)
