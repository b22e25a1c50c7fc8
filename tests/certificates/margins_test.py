import numpy as np
from absl.testing import parameterized

from keras_lip.certificates.margins import margin_radii
from keras_lip.certificates.margins import predict_labels
from tests.lipschitz_test_case import LipschitzTestCase

SQRT_2 = np.full((3, 3), np.sqrt(2.0))
NONE = np.zeros(1)


class MarginsTest(LipschitzTestCase):
    def radius(self, logits, pair_bounds=SQRT_2, error=0.0):
        logits = np.array([logits], dtype="float64")
        (radius,) = margin_radii(logits, pair_bounds, np.array([error]))
        return radius

    def test_hand_computed_radii(self):
        self.assertAllClose(self.radius([3, 1, 0]), 2 / np.sqrt(2), rtol=1e-15)
        self.assertAllClose(self.radius([3], np.array([[2.0]])), 1.5)
        self.assertAllClose(self.radius([-3], np.array([[2.0]])), 1.5)
        self.assertAllClose(self.radius([3, 1, 0], error=0.5), 1.5 / 2**0.5)

    def test_every_class_is_compared(self):
        # The runner-up is far away, the last class near.
        bounds = np.array([[0.0, 1.0, 8.0], [1.0, 0, 1.0], [8.0, 1.0, 0.0]])
        self.assertAllClose(self.radius([4, 3, 0], bounds), 0.5)

    def test_radii_are_rounded_down(self):
        for _ in range(100):
            logits = self.rng.normal(size=3)
            top, next_best = np.sort(logits)[::-1][:2]
            exact = np.longdouble(top) - np.longdouble(next_best)
            exact = exact / np.longdouble(SQRT_2[0, 0])
            self.assertLess(self.radius(logits), exact)

    @parameterized.parameters(
        ([1.0, 1.0, 0.0],),
        ([np.nan, 1.0, 0.0],),
        ([np.inf, 1.0, 0.0],),
        ([1.0, 0.0, -np.inf],),
        ([0.0, 0.0, 0.0],),
    )
    def test_ties_and_non_finite_logits_have_no_radius(self, logits):
        self.assertEqual(self.radius(logits), 0.0)
        equal_weights = np.zeros((3, 3))
        self.assertEqual(self.radius(logits, equal_weights), 0.0)

    def test_error_as_large_as_the_margin_leaves_no_radius(self):
        self.assertEqual(self.radius([1.0, 0.5, 0.0], error=0.5), 0.0)
        self.assertEqual(self.radius([1.0, 0.5, 0.0], error=0.6), 0.0)

    def test_bounds_that_are_no_number_or_infinite_leave_no_radius(self):
        for value in (np.inf, np.nan):
            bounds = np.full((3, 3), value)
            self.assertEqual(self.radius([1.0, 0.5, 0.0], bounds), 0.0)

    def test_margin_that_cannot_shrink_has_a_finite_radius(self):
        radius = self.radius([1.0, 0.5, 0.0], np.zeros((3, 3)))
        self.assertTrue(np.isfinite(radius))
        self.assertGreater(radius, 1e300)

    def test_labels(self):
        labels = predict_labels(np.array([[0.1, 0.2], [0.3, -1.0]]))
        self.assertEqual(labels.tolist(), [1, 0])
        labels = predict_labels(np.array([[0.1], [-0.2], [0.0]]))
        self.assertEqual(labels.tolist(), [1, 0, 0])
