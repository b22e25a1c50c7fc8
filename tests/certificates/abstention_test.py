import json

import keras
import numpy as np
from keras import layers

import keras_lip as kl
from keras_lip.certificates import CertificationReport
from keras_lip.certificates import certify
from tests.lipschitz_test_case import LipschitzTestCase


def make_classifier(scale=1.0):
    """A linear classifier by two orthogonal directions: margins of sqrt(2)."""
    model = keras.Sequential(
        [keras.Input((2,)), layers.Dense(2, use_bias=False)]
    )
    model.layers[0].set_weights([scale * np.eye(2)])
    return model


# Margins of 4, 1, 3 and 1/2, of which the third is wrong.
X = np.array([[4.0, 0.0], [0.0, 1.0], [3.0, 0.0], [0.5, 0.0]])
Y = np.array([0, 1, 1, 0])


class AbstentionTest(LipschitzTestCase):
    def test_answers_are_given_from_the_margin_on(self):
        report = certify(make_classifier(), X, Y, [0.5], abstain_below=0.9)
        self.assertEqual(report.answered.tolist(), [True, True, True, False])
        self.assertEqual(report.coverage, 0.75)
        self.assertEqual(report.accuracy, 0.5)

    def test_radii_are_those_to_abstention(self):
        report = certify(make_classifier(), X, Y, [0.5], abstain_below=0.9)
        expected = np.array([3.1, 0.1, 2.1, 0.0]) / np.sqrt(2.0)
        self.assertAllClose(report.radius, expected, 1e-9, 1e-9)
        self.assertTrue((report.radius <= expected).all())
        self.assertEqual(report.certified_accuracy(0.5), 0.25)
        self.assertEqual(report.certified_accuracy(0.05), 0.5)

    def test_different_answers_are_apart_everywhere(self):
        model = make_classifier(scale=3.0)
        report = certify(model, X, Y, abstain_below=0.9)
        # The margins grow by 3 sqrt(2) and must change by 1.8.
        exact = 1.8 / (3 * np.sqrt(2.0))
        self.assertAlmostEqual(report.global_radius, exact, delta=1e-12)
        self.assertLessEqual(report.global_radius, exact)
        # It is attained, on either side of the boundary.
        step = 0.45 / 3 * np.array([[1.0, -1.0]]) * (1 + 1e-6)
        points = 5.0 + np.concatenate([step, -step])
        report = certify(model, points, [0, 1], abstain_below=0.9)
        self.assertTrue(report.answered.all())
        self.assertEqual(report.accuracy, 1.0)
        distance = np.linalg.norm(points[0] - points[1])
        self.assertAlmostEqual(distance, report.global_radius, delta=1e-5)

    def test_executions_may_answer_differently_at_any_distance(self):
        """A large bias rounds all inputs to multiples of four."""
        model = keras.Sequential(
            [keras.Input((1,)), layers.Dense(1), layers.Dense(1)]
        )
        one, large = np.ones((1, 1)), np.array([2.0**25])
        model.set_weights([one, large, one, -large])
        # Neighbors answer with margins of at least two on either side of zero.
        x = np.array([[-2.1], [1.9], [2.1]], "float32")
        arguments = {"x": x, "y": [0, 1, 1], "abstain_below": 1.9}
        self.assertGreater(certify(model, **arguments).global_radius, 3.79)
        report = certify(model, semantics="float32", **arguments)
        with self.assertRaisesRegex(
            ValueError, "`global_radius` is known for the real.*'float32'"
        ):
            _ = report.global_radius
        self.assertIn("of the real-valued function (l2, pro", str(report))
        self.assertNotIn("Distance between", str(report))
        self.assertIsNone(json.loads(report.to_json())["global_radius"])
        path = self.temporary_path("report.html")
        page = report.save(path).read_text()
        self.assertIn("executions in float32, and", page)
        self.assertNotIn("apart", page)
        self.assertNotIn("certificates hold for the real", page)
        loaded = CertificationReport.load(
            report.save(self.temporary_path("report.json"))
        )
        self.assertEqual(loaded.to_json(), report.to_json())
        report = certify(model, semantics="float32", x=x, y=[0, 1, 1])
        self.assertEqual(report.global_radius, 0.0)

    def test_constant_models_never_answer_differently(self):
        model = make_classifier(scale=0.0)
        report = certify(model, X, Y, abstain_below=0.5)
        self.assertEqual(report.global_radius, np.inf)
        self.assertEqual(report.coverage, 0.0)
        path = self.temporary_path("report.json")
        report.save(path)

        def refuse(name):
            raise ValueError(name)

        content = json.loads(path.read_text(), parse_constant=refuse)
        self.assertEqual(content["global_radius"], "inf")
        loaded = CertificationReport.load(path)
        self.assertEqual(loaded.global_radius, np.inf)

    def test_radius_that_overflows_is_zero(self):
        report = CertificationReport(
            "name", 1.0, "by hand", (), *np.zeros((3, 1)), abstain_below=1e308
        )
        report.largest_pair_bound = 1e-10
        self.assertEqual(report.global_radius, 0.0)

    def test_without_abstention_nothing_is_known_of_other_inputs(self):
        report = certify(make_classifier(), X, Y)
        self.assertEqual(report.global_radius, 0.0)
        self.assertEqual(report.coverage, 1.0)
        self.assertEqual(report.accuracy, 0.75)

    def test_curve_at_the_margins_themselves(self):
        report = certify(make_classifier(), X, Y, [0.5])
        curve = report.abstention_curve(num_points=4)
        self.assertAllClose(curve.thresholds, [0.0, 4 / 3, 8 / 3, 4.0])
        self.assertAllClose(curve.coverage, [1.0, 0.5, 0.5, 0.25])
        self.assertAllClose(curve.accuracy, [0.75, 0.5, 0.5, 1.0])
        self.assertAllClose(curve.certified_accuracy, [0.75, 0.25, 0.25, 0.25])
        curve = report.abstention_curve(0.5, num_points=4)
        # Within 1/2 a margin loses 0.7071: 3.29, 0.29 and none are left.
        self.assertAllClose(curve.certified_accuracy, [0.5, 0.25, 0.25, 0.0])

    def test_curve_agrees_with_the_reports_at_a_threshold(self):
        x, y = self.normal(50, 2), self.rng.integers(0, 2, size=50)
        model = make_classifier()
        curve = certify(model, x, y, [0.2]).abstention_curve(0.2, 9)
        for i in range(1, 8):
            report = certify(
                model, x, y, [0.2], abstain_below=float(curve.thresholds[i])
            )
            self.assertEqual(report.coverage, curve.coverage[i])
            right = curve.accuracy[i] * curve.coverage[i]
            self.assertAlmostEqual(report.accuracy, right)
            self.assertAlmostEqual(
                report.certified_accuracy(0.2), curve.certified_accuracy[i]
            )

    def test_one_output_abstains_as_well(self):
        model = keras.Sequential([keras.Input((1,)), layers.Dense(1)])
        model.layers[0].set_weights([np.array([[2.0]]), np.zeros(1)])
        x = np.array([[1.0], [-0.1], [-3.0]])
        report = certify(model, x, [1, 0, 0], abstain_below=1.0)
        self.assertEqual(report.answered.tolist(), [True, False, True])
        self.assertAllClose(report.radius, [0.5, 0.0, 2.5], 1e-9, 1e-9)
        self.assertAlmostEqual(report.global_radius, 1.0, delta=1e-9)

    def test_report_says_that_it_abstains(self):
        report = certify(make_classifier(), X, Y, [0.5], abstain_below=0.9)
        self.assertIn("Coverage: 75.00%", str(report))
        self.assertIn('"abstain_below": 0.9', report.to_json())
        path = self.temporary_path("report.html")
        report.save(path)
        self.assertIn("abstaining below a margin of", path.read_text())

    def test_bad_arguments_are_refused(self):
        for threshold in -1.0, np.nan, "m":
            with self.assertRaisesRegex(ValueError, "`abstain_below` must be"):
                certify(make_classifier(), X, Y, abstain_below=threshold)
        report = certify(make_classifier(), X, Y, [0.5])
        with self.assertRaisesRegex(ValueError, "pass `epsilons` to `certify`"):
            report.abstention_curve(0.25)

    def test_margins_of_a_network_are_measured_with_its_constants(self):
        model = kl.models.LipschitzSequential(
            [keras.Input((2,)), kl.layers.UnitNormDense(3)]
        )
        report = certify(model, X, [0] * 4, [0.1])
        kernel = keras.ops.convert_to_numpy(model.layers[0].kernel)
        scores = X @ kernel.astype("float64")
        top = np.argmax(scores, axis=1)
        expected = []
        for i, y in enumerate(top):
            left = [
                scores[i, y]
                - scores[i, j]
                - 0.1 * np.linalg.norm(kernel[:, y] - kernel[:, j])
                for j in range(3)
                if j != y
            ]
            expected.append(max(0.0, min(left)))
        self.assertAllClose(report.worst_margin[:, 1], expected, 1e-6, 1e-6)
