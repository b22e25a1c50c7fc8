import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip.certificates.margins import pair_margins
from keras_lip.certificates.margins import predict_labels
from keras_lip.metrics.signed_radii import LARGEST_RADIUS
from keras_lip.metrics.signed_radii import signed_radii
from tests.lipschitz_test_case import LipschitzTestCase


def measure(labels, logits, pair_bounds):
    return ops.convert_to_numpy(
        signed_radii(
            ops.convert_to_tensor(labels),
            ops.convert_to_tensor(np.array(logits, "float32")),
            ops.convert_to_tensor(np.array(pair_bounds, "float32")),
        )
    )


class SignedRadiiTest(LipschitzTestCase):
    @parameterized.parameters(1, 2, 5)
    def test_radii_are_those_of_the_certificate(self, classes):
        logits = self.normal(40, classes).astype("float64")
        pair_bounds = self.rng.uniform(0.5, 3.0, (classes, classes))
        pair_bounds = pair_bounds.astype("float32").astype("float64")
        labels = self.rng.integers(0, max(classes, 2), 40)
        expected = pair_margins(logits, pair_bounds, np.zeros(40)).radii()
        correct = predict_labels(logits) == labels
        self.assertIn(False, correct)
        self.assertAllClose(
            measure(labels, logits, pair_bounds),
            np.where(correct, expected, -expected),
        )

    def test_the_nearest_class_is_not_always_the_second_best(self):
        # Margins of 1 and 2, with constants of 1 and 8.
        bounds = [[0, 1, 8], [1, 0, 1], [8, 1, 0]]
        radii = measure([0, 2], [[2, 1, 0], [2, 1, 0]], bounds)
        self.assertAllClose(radii, [0.25, -0.25])

    def test_what_ties_or_is_no_number_is_at_no_distance(self):
        logits = [[1, 1], [1, np.nan], [np.inf, 0], [0, -np.inf], [2, 1]]
        for bound in (1.0, 0.0):
            radii = measure([0] * 5, logits, np.full((2, 2), bound))
            self.assertAllClose(radii[:4], np.zeros(4))
            self.assertGreater(radii[4], 0)
        for bound in (np.inf, np.nan):
            radii = measure([0] * 5, logits, np.full((2, 2), bound))
            self.assertAllClose(radii, np.zeros(5))
        radii = measure([1] * 3, [[0], [np.nan], [np.inf]], [[1.0]])
        self.assertAllClose(radii, np.zeros(3))

    def test_a_constant_margin_is_as_good_as_the_others(self):
        bounds = [[0, 0, 2], [0, 0, 2], [2, 2, 0]]
        self.assertAllClose(measure([0], [[3, 2, 1]], bounds), [1.0])

    def test_a_constant_classifier_has_a_finite_radius(self):
        radii = measure([0, 1], [[3, 2], [3, 2]], np.zeros((2, 2)))
        self.assertAllClose(radii / LARGEST_RADIUS, [1, -1])
        radii = measure([1, 0], [[3], [2]], [[0.0]])
        self.assertAllClose(radii / LARGEST_RADIUS, [1, -1])

    def test_far_logits_do_not_overflow(self):
        radii = measure([0], [[3e38, -3e38]], np.full((2, 2), 1e20))
        self.assertAllClose(radii / 1e18, [3.4028235], rtol=1e-6)
        radii = measure([0], [[3e38, -3e38]], np.full((2, 2), np.inf))
        self.assertAllClose(radii, [0.0])
