import dataclasses
import importlib
import sys
from unittest import mock

import keras
import numpy as np
from absl.testing import parameterized
from keras import layers

import keras_lip as kl
from keras_lip import certificates
from keras_lip.certificates import FalsifiedCertificate
from keras_lip.certificates import certify
from keras_lip.certificates import falsify
from keras_lip.certificates.attacks.foolbox_attacks import make_attacks
from tests.lipschitz_test_case import LipschitzTestCase

FALSIFY = importlib.import_module("keras_lip.certificates.attacks.falsify")

X = np.array([[2.0, 1.0], [-0.5, 0.0], [0.3, 0.0], [1.0, -3.0]])


def make_linear(kernel=None, bias=None):
    """Logits `x` themselves, or those of another kernel."""
    kernel = np.eye(2) if kernel is None else np.asarray(kernel, dtype=float)
    bias = np.zeros(kernel.shape[1]) if bias is None else np.asarray(bias)
    model = keras.Sequential([keras.Input((2,)), layers.Dense(len(bias))])
    model.layers[0].set_weights([kernel, bias])
    return model


def scale_radii(report, factor):
    return dataclasses.replace(report, radius=factor * report.radius)


class FalsifyTest(LipschitzTestCase):
    def certify(self, model, **kwargs):
        y = np.zeros(len(X), int)
        return certify(model, X, y, **kwargs)

    def assertFalsified(self, model, report, attacks=False, **kwargs):
        with self.assertRaises(FalsifiedCertificate) as caught:
            falsify(model, X, None, report, attacks=attacks, **kwargs)
        return caught.exception

    def network(self, norm):
        dense = {
            "l2": kl.layers.OrthogonalDense, "linf": kl.layers.LinfDense
        }[norm]  # fmt: skip
        return kl.models.LipschitzSequential(
            [keras.Input((2,)), dense(4), kl.layers.MaxMin(), dense(3)]
        )

    @parameterized.parameters("l2", "linf")
    def test_true_certificates_stand_all_attacks(self, norm):
        model = self.network(norm)
        report = self.certify(model)
        summary = falsify(model, X, np.zeros(4), report, steps=5)
        self.assertEqual(summary.num_attacked, 4)
        self.assertGreaterEqual(summary.nearest, 1.0)
        self.assertLessEqual(summary.stretch, report.lipschitz_bound)
        self.assertGreater(summary.stretch, 0.2)
        self.assertEqual(summary.lipschitz_bound, report.lipschitz_bound)
        self.assertIn("none falsified", str(summary))
        self.assertLen(summary.attacks, 4)
        self.assertContainsSubset(("margin ascent",), summary.attacks)

    @parameterized.product(norm=["l2", "linf"], outputs=[1, 2])
    def test_radii_too_large_by_a_little_are_falsified(self, norm, outputs):
        model = make_linear(np.eye(2)[:, :outputs])
        report = self.certify(model, norm=norm)
        summary = falsify(model, X, None, report, attacks=False, steps=3)
        # The boundary of a linear model is found to the last bisection.
        self.assertBetween(summary.nearest, 1.0, 1.001)
        self.assertAlmostEqual(summary.stretch, 1.0, delta=1e-6)
        self.assertEqual(summary.attacks, ("margin ascent",))
        false = scale_radii(report, 1 + 1e-5)
        error = self.assertFalsified(model, false, steps=3)
        point, index = error.counterexample, error.index
        scores = point @ np.eye(2)[:, :outputs]
        answer = np.argmax(scores) if outputs == 2 else int(scores[0] > 0)
        self.assertEqual(error.found, answer)
        self.assertEqual(error.label, report.prediction[index])
        self.assertNotEqual(error.label, error.found)
        order = np.inf if norm == "linf" else 2
        distance = np.linalg.norm(point - X[index], ord=order)
        self.assertAlmostEqual(error.distance, distance, delta=1e-12)
        self.assertLess(error.distance, error.radius)
        self.assertEqual(error.radius, false.radius[index])
        self.assertRegex(str(error), f"sample {index} is false: class")

    # Minimal attacks overshoot, by 2 %: their points have to be pulled in.
    @parameterized.parameters(
        ("l2", "bounded", 1.005), ("linf", "minimal", 1.3)
    )
    def test_foolbox_falsifies_as_well(self, norm, omitted, factor):
        model = make_linear(np.eye(2)[:, :1])
        false = scale_radii(self.certify(model, norm=norm), factor)
        attacks = make_attacks(norm, 5)._replace(**{omitted: {}})
        with (
            mock.patch.object(FALSIFY, "ascend_margins", lambda *_: []),
            mock.patch.object(FALSIFY, "make_attacks", lambda *_: attacks),
        ):
            error = self.assertFalsified(model, false, attacks=True)
        self.assertLess(error.distance, error.radius)
        self.assertNotEqual(error.label, error.found)

    def test_sample_without_radius_is_skipped(self):
        model = make_linear()
        report = self.certify(model)
        for index in range(4):
            report.radius[index] = 0.0
            if index < 3:
                # The others are still attacked, however large their radii.
                error = self.assertFalsified(model, scale_radii(report, 2.0))
                self.assertGreater(error.index, index)
        summary = falsify(model, X, None, report)
        self.assertEqual(summary.num_attacked, 0)
        self.assertEqual(summary.nearest, np.inf)

    def test_radius_without_other_points_is_not_counted(self):
        model = make_linear()
        report = self.certify(model)
        # The second sample has an entry of zero, with numbers around it.
        report.radius[:] = [1e-30, 1e-30, 5e-324, 1e-30]
        summary = falsify(model, X, None, report, attacks=False)
        self.assertEqual(summary.num_attacked, 2)

    def test_answer_must_stay_given(self):
        model = make_linear()
        report = self.certify(model, abstain_below=0.4)
        self.assertEqual(report.radius[2], 0.0)
        summary = falsify(model, X, None, report, attacks=False)
        self.assertEqual(summary.num_attacked, 3)
        self.assertBetween(summary.nearest, 1.0, 1.001)
        # Certificates of an answer are none that it is given.
        plain = self.certify(model)
        plain.radius[2] = 0.0
        false = dataclasses.replace(report, radius=plain.radius)
        error = self.assertFalsified(model, false)
        self.assertIsNone(error.found)
        self.assertIn("gives no answer", str(error))

    def test_inputs_out_of_bounds_do_not_count(self):
        # The answer changes where both entries are negative, taken together.
        model = make_linear([[1, 0], [1, 0]])
        x = np.full((4, 2), 0.1)
        report = certify(model, x, np.zeros(4, int))
        false = scale_radii(report, 1.2)
        with self.assertRaises(FalsifiedCertificate):
            falsify(model, x, None, false, attacks=False)
        summary = falsify(model, x, None, false, bounds=(0.0, 1.0), steps=3)
        self.assertEqual(summary.num_attacked, 4)
        self.assertEqual(summary.nearest, np.inf)

    def test_bound_that_a_pair_exceeds_is_false(self):
        model = make_linear(3 * np.eye(2))
        report = self.certify(model)
        false = dataclasses.replace(report, lipschitz_bound=2.99)
        error = self.assertFalsified(model, false)
        self.assertRegex(str(error), "The Lipschitz bound 2.99 of the report")
        self.assertIsNone(error.index)

    def test_class_that_is_not_the_runner_up_is_attacked(self):
        # The second class is ahead of the others, the last one nearer.
        model = make_linear([[1, 0.9, 0.8, -9], [0, 0, 0, 0]])
        x = np.array([[1.0, 0.0]])
        report = certify(model, x, [0])
        self.assertAlmostEqual(report.radius[0], 1.0, delta=1e-8)
        model.layers[0].bias.assign([0.5, 0.0, 0.0, 0.0])
        report = certify(model, x, [0])
        self.assertAlmostEqual(report.radius[0], 1.05, delta=1e-7)
        false = scale_radii(report, 1.001)
        with self.assertRaises(FalsifiedCertificate) as caught:
            falsify(model, x, None, false, attacks=False)
        self.assertEqual(caught.exception.found, 3)

    def test_margins_that_cannot_shrink_are_attacked_within_reason(self):
        model = make_linear([[1, 1], [0, 0]], [1.0, 0.0])
        report = self.certify(model)
        self.assertGreater(report.radius.min(), 1e300)
        summary = falsify(model, X, None, report)
        self.assertEqual(summary.nearest, np.inf)
        # The same radii of a model that does change its mind.
        model = make_linear()
        report = dataclasses.replace(self.certify(model), radius=report.radius)
        error = self.assertFalsified(model, report)
        self.assertLess(error.distance, 1e8)

    def test_weights_that_are_no_numbers_claim_nothing(self):
        model = make_linear(bias=[0.0, np.nan])
        report = self.certify(model)
        summary = falsify(model, X, None, report)
        self.assertEqual(summary.num_attacked, 0)

    def test_batches_of_any_kind_are_attacked(self):
        model, y = make_linear(), np.array([0, 1, 0, 0])
        report = certify(model, X, y)
        batches = ((X[i : i + 2], y[i : i + 2]) for i in (0, 2))
        summary = falsify(model, batches, None, report, attacks=False)
        self.assertEqual(summary.num_attacked, 4)
        false = dataclasses.replace(report, radius=report.radius.copy())
        false.radius[3] *= 1.1
        with self.assertRaises(FalsifiedCertificate) as caught:
            falsify(model, X, y, false, attacks=False, batch_size=2)
        self.assertEqual(caught.exception.index, 3)

    def test_report_of_something_else_is_refused(self):
        model = make_linear()
        report = self.certify(model)
        with self.assertRaisesRegex(TypeError, "`report` must be a report of"):
            falsify(model, X, None, certificates.audit(model))
        unknown = dataclasses.replace(report, audit=None)
        with self.assertRaisesRegex(ValueError, "contains no audit"):
            falsify(model, X, None, unknown)
        unknown = dataclasses.replace(report, norm="l1")
        with self.assertRaisesRegex(ValueError, "Unknown norm: 'l1'"):
            falsify(model, X, None, unknown)
        with self.assertRaisesRegex(ValueError, "Received: 3 samples"):
            falsify(model, X[:3], None, report, attacks=False)
        more = np.concatenate([X, X[:1]])
        with self.assertRaisesRegex(ValueError, "5 samples or more"):
            falsify(model, more, None, report)
        with self.assertRaisesRegex(ValueError, "another label of sample 2"):
            falsify(model, X, [0, 0, 1, 0], report)
        with self.assertRaisesRegex(ValueError, "prediction of sample 0"):
            falsify(model, X[:, ::-1], None, report)
        model.layers[0].bias.assign([0.0, 1.0])
        with self.assertRaisesRegex(ValueError, "of other weights"):
            falsify(model, X, None, report)

    def test_bad_arguments_are_refused(self):
        model = make_linear()
        report = self.certify(model)
        with self.assertRaisesRegex(ValueError, "within `bounds`.*-3.0 to 2"):
            falsify(model, X, None, report, bounds=(-1, 2))
        for bounds in ((0, np.inf), (1, 0)):
            with self.assertRaisesRegex(ValueError, "`bounds` must be"):
                falsify(model, X, None, report, bounds=bounds)
        with self.assertRaisesRegex(ValueError, "`steps` must be"):
            falsify(model, X, None, report, steps=0)
        with self.assertRaisesRegex(ValueError, "`batch_size` must be"):
            falsify(model, X, None, report, batch_size=0)
        with mock.patch.dict(sys.modules, {"foolbox": None}):
            with self.assertRaisesRegex(ImportError, r"keras-lip\[attacks\]"):
                falsify(model, X, None, report)
            falsify(model, X, None, report, attacks=False, steps=1)
