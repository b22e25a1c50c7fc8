import numpy as np
from absl.testing import parameterized

from keras_lip.certificates.margins import Margins
from keras_lip.certificates.margins import pair_margins
from keras_lip.certificates.margins import predict_labels
from tests.lipschitz_test_case import LipschitzTestCase

SQRT_2 = np.full((3, 3), np.sqrt(2.0))
NONE = np.zeros(1)


class MarginsTest(LipschitzTestCase):
    def radius(self, logits, pair_bounds=SQRT_2, error=0.0):
        logits = np.array([logits], dtype="float64")
        (radius,) = pair_margins(logits, pair_bounds, np.array([error])).radii()
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


class LimitedMarginsTest(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        # The margins are 3 and 4, the second class is further away.
        self.margins = Margins(
            logits=np.array(
                [[1.0, 5.0, 2.0], [1.0, 5.0, 2.0], [0.0, 1.0, 1.0]]
            ),
            loss=np.array([[1.0, 9.0, 0.5]] * 3),
            rate=np.array([[0.5, 9.0, 0.25]] * 3),
            limit=np.array([np.inf, 4.0, np.inf]),
        )

    def test_radius_is_the_least_over_all_other_classes(self):
        radii = self.margins.radii()
        self.assertAllClose(radii, [6.0, 4.0, 0.0], rtol=1e-14)
        self.assertLess(radii[0], 6.0)

    def test_radius_is_of_margins_above_a_threshold(self):
        radii = self.margins.radii(threshold=1.0)
        self.assertAllClose(radii, [4.0, 4.0, 0.0], rtol=1e-14)
        self.assertLess(radii[0], 4.0)

    def test_worst_margin_shrinks_with_the_distance(self):
        worst = self.margins.worst_margins([0.0, 2.0, 5.0, 100.0])
        expected = [[2.5, 2.0, 0.5, 0.0], [2.5, 2.0, 0.0, 0.0], [0.0] * 4]
        self.assertAllClose(worst, expected, rtol=1e-14)
        self.assertLess(worst[0, 1], 2.0)

    def test_single_output_has_the_margin_of_its_sign(self):
        margins = Margins(
            logits=np.array([[3.0], [-3.0], [0.5]]),
            loss=np.ones((3, 1)),
            rate=np.ones((3, 1)),
            limit=np.full(3, np.inf),
        )
        self.assertAllClose(margins.radii(), [2.0, 2.0, 0.0], rtol=1e-14)
        worst = margins.worst_margins([1.5])
        self.assertAllClose(worst, [[0.5], [0.5], [0.0]], rtol=1e-14)

    def test_what_is_not_finite_has_neither_margin_nor_radius(self):
        logits = np.array([[np.inf, 0.0], [np.nan, 0.0], [1.0, 0.0]])
        margins = Margins(
            logits,
            np.array([[0.0], [0.0], [np.inf]]),
            np.ones((3, 1)),
            np.full(3, np.inf),
        )
        self.assertEqual(margins.radii().tolist(), [0.0] * 3)
        self.assertEqual(margins.worst_margins([0.0]).tolist(), [[0.0]] * 3)

    def test_constant_margin_has_a_finite_radius(self):
        margins = Margins(
            np.array([[1.0, 0.0]]),
            np.zeros((1, 1)),
            np.full((1, 1), 1e-320),
            np.full(1, np.inf),
        )
        self.assertTrue(np.isfinite(margins.radii()).all())
