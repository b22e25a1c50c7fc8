import dataclasses
import importlib
from unittest import mock

import numpy as np
from absl.testing import parameterized

from keras_lip.certificates.curvature import certifier as curvature_certifier
from keras_lip.certificates.curvature.radii import curvature_radii
from keras_lip.program.nodes.curvature_head import CurvatureHead
from tests.certificates.true_distances import true_distances
from tests.lipschitz_test_case import LipschitzTestCase


class CurvatureRadiiTest(LipschitzTestCase):
    def make_head(self, inputs, units, classes, scale=1.0):
        return CurvatureHead(
            self.rng.normal(size=(inputs, units)) * scale,
            self.rng.normal(size=units) * scale,
            self.rng.normal(size=(units, classes)) * scale,
            self.rng.normal(size=classes) * scale / 10,
        )

    def radii(self, head, x, trunk_bound=1.0, error=0.0, labels=None, **kwargs):
        x = np.asarray(x)
        if labels is None:
            labels = np.argmax(evaluate(head, x), axis=1)
        errors = np.full(len(x), error)
        return curvature_radii(x, labels, head, trunk_bound, errors, **kwargs)

    def ratios(self, inputs, units, classes, scale):
        """Returns the radii of 25 random heads over the true distances."""
        heads = [
            self.make_head(inputs, units, classes, scale) for _ in range(25)
        ]
        x = self.rng.normal(size=(25, inputs))
        radii, weights, offsets = [], [], []
        for head, sample in zip(heads, x, strict=True):
            label = np.argmax(evaluate(head, sample))
            rest = np.arange(classes) != label
            columns = head.kernel[:, [label]] - head.kernel[:, rest]
            weights.append(columns.T)
            offsets.append(head.bias[label] - head.bias[rest])
            radii.extend(self.radii(head, sample[None]))
        distances = true_distances(
            x,
            np.stack([head.hidden_kernel for head in heads]),
            np.stack([head.hidden_bias for head in heads]),
            np.array(weights),
            np.array(offsets),
            self.rng,
        )
        return np.array(radii) / distances

    def test_radii_never_exceed_the_distance_and_mostly_are_the_distance(self):
        ratios = []
        for group in range(20):
            inputs = self.rng.integers(8, 33)
            units = self.rng.integers(16, 65)
            classes = self.rng.integers(3, 11)
            scale = [0.3, 1.0, 3.0][group % 3]
            ratios.extend(self.ratios(inputs, units, classes, scale))
        self.assertLen(ratios, 500)
        self.assertLessEqual(max(ratios), 1.0)
        # 80 % of them.
        self.assertGreater(np.mean(np.array(ratios) >= 1 - 1e-6), 0.7)

    def test_curvature_that_is_too_small_would_be_noticed(self):
        bound = curvature_certifier.curvature_bound
        with mock.patch.object(
            curvature_certifier, "curvature_bound", lambda *a: bound(*a) / 5
        ):
            found = [self.ratios(8, 16, 3, 3.0).max() for _ in range(3)]
        self.assertGreater(max(found), 1.1)

    @parameterized.parameters(1.0, -1.0, 2.5)
    def test_one_dimensional_head_has_the_distance_worked_out_by_hand(
        self, slope
    ):
        # softplus(s x) < log 3 where s x < log 2.
        head = CurvatureHead(
            np.array([[slope]]),
            np.zeros(1),
            np.array([[1.0, 0.0]]),
            np.array([0.0, np.log(3)]),
        )
        x = np.array([[3.0 / slope], [1.0 / slope], [-1.0 / slope]])
        exact = np.abs(x[:, 0] - np.log(2) / slope)
        radii = self.radii(head, x)
        self.assertAllClose(radii, exact, 0, 1e-9)
        self.assertTrue((radii <= exact).all())
        # As a single output, whose sign is the class.
        single = dataclasses.replace(
            head, kernel=head.kernel[:, :1], bias=-head.bias[1:]
        )
        labels = np.array([1, 1, 0])
        self.assertAllClose(
            self.radii(single, x, labels=labels), exact, 0, 1e-9
        )

    def test_wide_features_have_the_radii_of_their_projection(self):
        # A head of 3 hidden units on 40 features sees 3 dimensions of them.
        head, x = self.make_head(40, 3, 4), self.rng.normal(size=(6, 40))
        basis, factor = np.linalg.qr(head.hidden_kernel)
        small = dataclasses.replace(head, hidden_kernel=factor)
        self.assertAllClose(
            self.radii(head, x), self.radii(small, x @ basis), 0, 1e-9
        )

    def test_trunk_bound_and_errors_of_features_count(self):
        head, x = self.make_head(4, 8, 3), self.rng.normal(size=(5, 4))
        radii = self.radii(head, x)
        self.assertTrue((radii > 0.01).all())
        halves = self.radii(head, x, trunk_bound=2.0)
        self.assertAllClose(halves, radii / 2, 0, 1e-15)
        self.assertTrue((halves <= radii / 2).all())
        less = self.radii(head, x, 2.0, error=0.01)
        self.assertAllClose(less, (radii - 0.01) / 2, 0, 1e-13)
        self.assertAllClose(self.radii(head, x, error=1e3), np.zeros(5), 0, 0)

    def test_dual_of_fewer_classes_gives_no_larger_radii(self):
        head, x = self.make_head(8, 32, 8), self.rng.normal(size=(40, 8))
        full = self.radii(head, x, classes="all")
        self.assertAllClose(self.radii(head, x, classes=7), full, 0, 0)
        self.assertAllClose(self.radii(head, x, classes=99), full, 0, 0)
        before = 0
        for classes in (1, 2, 4):
            radii = self.radii(head, x, classes=classes)
            self.assertTrue((radii <= full).all())
            self.assertTrue((radii >= before).all())
            self.assertTrue((radii > 0).all())
            before = radii
        self.assertTrue((self.radii(head, x, classes=1) < full).any())

    def test_all_pairs_solved_give_the_same_radii(self):
        head, x = self.make_head(8, 32, 5), self.rng.normal(size=(20, 8))
        labels = np.argmax(evaluate(head, x), axis=1)
        certifier = curvature_certifier.CurvatureCertifier(head)
        radii = np.full((20, 5), np.inf)
        for other in range(5):
            rows = labels != other
            others = np.full(rows.sum(), other)
            radii[rows, other] = certifier._solve(x[rows], labels[rows], others)
        self.assertAllClose(self.radii(head, x), radii.min(axis=1), 0, 1e-14)

    def test_chunks_do_not_matter(self):
        head, x = self.make_head(8, 16, 4), self.rng.normal(size=(30, 8))
        full = self.radii(head, x)
        module = importlib.import_module(curvature_radii.__module__)
        with mock.patch.object(module, "_CHUNK", 7 * 64):
            with mock.patch.object(curvature_certifier, "_CHUNK", 3 * 128):
                self.assertAllClose(self.radii(head, x), full, 0, 1e-13)

    def test_ties_have_no_radius(self):
        x = self.rng.normal(size=(3, 4))
        head = self.make_head(4, 6, 3)
        zero = CurvatureHead(
            *(np.zeros_like(weight) for weight in weights_of(head))
        )
        self.assertAllClose(self.radii(zero, x), np.zeros(3), 0, 0)
        # Every class twice.
        twice = dataclasses.replace(
            head, kernel=np.tile(head.kernel, 2), bias=np.tile(head.bias, 2)
        )
        self.assertAllClose(self.radii(twice, x), np.zeros(3), 0, 0)
        # A label that is not that of the largest logit.
        wrong = np.argmin(evaluate(head, x), axis=1)
        self.assertAllClose(self.radii(head, x, labels=wrong), np.zeros(3), 0)

    def test_margin_that_cannot_shrink_has_a_finite_radius(self):
        head = self.make_head(4, 6, 2)
        head = dataclasses.replace(
            head, kernel=np.zeros((6, 2)), bias=np.array([1.0, 0.0])
        )
        for inner in (head.hidden_kernel, np.zeros((4, 6))):
            (radius,) = self.radii(
                dataclasses.replace(head, hidden_kernel=inner), np.ones((1, 4))
            )
            self.assertTrue(np.isfinite(radius))
            self.assertGreater(radius, 1e50)

    def test_features_that_do_not_move_have_a_finite_radius(self):
        head, x = self.make_head(4, 6, 3), np.ones((2, 4))
        radii = self.radii(head, x, trunk_bound=0.0)
        self.assertTrue(np.isfinite(radii).all())
        self.assertTrue((radii > 1e300).all())

    @parameterized.parameters(0, 1, 2, 3)
    def test_numbers_that_are_not_finite_leave_no_radius(self, field):
        head, x = self.make_head(4, 6, 3), np.ones((2, 4))
        good = np.argmax(evaluate(head, x), axis=1)
        for value in (np.nan, np.inf, -np.inf):
            weights = [np.array(weight) for weight in weights_of(head)]
            weights[field].flat[0] = value
            for label in range(3):
                labels = np.full(2, label)
                radii = self.radii(CurvatureHead(*weights), x, labels=labels)
                self.assertAllClose(radii, np.zeros(2), 0, 0)
            sample = np.array([[1.0, 1, 1, 1], [value, 1, 1, 1]])
            radii = self.radii(head, sample, labels=good)
            self.assertGreater(radii[0], 0)
            self.assertEqual(radii[1], 0)
            self.assertEqual(self.radii(head, x, trunk_bound=abs(value))[0], 0)
            self.assertEqual(self.radii(head, x, error=abs(value))[0], 0)

    @parameterized.parameters(1e-300, 1e-160, 1e-40, 1e30, 1e150, 1e300)
    def test_huge_and_tiny_weights_keep_the_radii_sound(self, scale):
        head, x = self.make_head(6, 8, 3), self.rng.normal(size=(10, 6))
        radii = self.radii(head, x)
        labels = np.argmax(evaluate(head, x), axis=1)
        # The outer weights scale the margins, and move no boundary.
        outer = self.radii(
            dataclasses.replace(
                head, kernel=head.kernel * scale, bias=head.bias * scale
            ),
            x,
            labels=labels,
        )
        # The distances in the features are those over the inner weights.
        inner = self.radii(
            dataclasses.replace(head, hidden_kernel=head.hidden_kernel * scale),
            x / scale,
            labels=labels,
        )
        for found, exact in ((outer, radii), (inner * scale, radii)):
            self.assertTrue(np.isfinite(found).all())
            self.assertTrue((found >= 0).all())
            self.assertTrue((found <= exact * (1 + 1e-9)).all())
            if 1e-50 < scale < 1e50:
                self.assertAllClose(found, exact, 0, 1e-6)

    def test_margin_almost_without_a_slope_is_certified(self):
        # Equal units, far in their flat part: the multiplier is huge.
        head = CurvatureHead(
            np.full((4, 3), 10.0),
            np.full(3, -15.0),
            np.array([[1.0, 0.0]] * 3),
            np.array([0.0, 1e-9]),
        )
        exact = (-15 - np.log(np.expm1(1e-9 / 3))) / 20
        (radius,) = self.radii(head, np.zeros((1, 4)), labels=np.array([0]))
        self.assertLessEqual(radius, exact)
        self.assertGreater(radius, 0.8 * exact)

    def test_no_samples_have_no_radii(self):
        head = self.make_head(4, 6, 3)
        self.assertEqual(self.radii(head, np.zeros((0, 4))).shape, (0,))

    def test_invalid_arguments_are_refused(self):
        head, x = self.make_head(4, 6, 3), np.ones((2, 4))
        labels, errors = np.zeros(2, int), np.zeros(2)
        for args in (
            (x[:, :3], labels, errors),
            (x, labels[:1], errors),
            (x, labels, np.zeros(3)),
            (x, labels[:, None], errors),
            (x[0], labels, errors),
        ):
            with self.assertRaisesRegex(
                ValueError, r"of a head of 4 inputs. Received: features.shape="
            ):
                curvature_radii(args[0], args[1], head, 1.0, args[2])
        for wrong in (labels - 1, labels + 3, labels + 0.5):
            with self.assertRaisesRegex(
                ValueError, "`labels` must be integers from 0 to 2. Received"
            ):
                curvature_radii(x, wrong, head, 1.0, errors)
        with self.assertRaisesRegex(ValueError, "must not be negative"):
            self.radii(head, x, error=-1e-9)
        for classes in (0, -1, 1.5, "some"):
            with self.assertRaisesRegex(
                ValueError, "`classes` must be a positive integer"
            ):
                self.radii(head, x, classes=classes)


def weights_of(head):
    return head.hidden_kernel, head.hidden_bias, head.kernel, head.bias


def evaluate(head, x):
    hidden = np.logaddexp(0, x @ head.hidden_kernel + head.hidden_bias)
    return hidden @ head.kernel + head.bias
