import dataclasses

import numpy as np
from absl.testing import parameterized
from matplotlib import pyplot
from matplotlib.figure import Figure

from keras_lip import plots
from keras_lip.bounds import JacobianSingularValues
from keras_lip.certificates import CertificationReport
from keras_lip.plots.pareto_front import find_front
from tests.lipschitz_test_case import LipschitzTestCase
from tests.marks import on_pytorch_alone

pytestmark = on_pytorch_alone


class PlotsTestCase(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        self.addCleanup(pyplot.close, "all")
        self.axes = Figure().add_subplot()
        self.report = CertificationReport(
            model_name="model",
            lipschitz_bound=1.0,
            method="margin",
            epsilons=(0.5,),
            radius=np.array([0.2, 0.6, 0.4, 0.9]),
            prediction=np.array([0, 1, 2, 3]),
            label=np.array([0, 1, 2, 0]),
            attacks={"attacked": {0.5: 0.5, 0.1: 0.75}},
        )

    def labels(self, axes):
        return axes.get_legend_handles_labels()[1]


class CertifiedCurvesTest(PlotsTestCase):
    def test_line_is_the_certified_accuracy_and_points_the_attacked(self):
        axes = self.report.plot(self.axes)
        self.assertIs(axes, self.axes)
        line, points = axes.lines
        radii, accuracies = line.get_data()
        for radius, accuracy in zip(radii, accuracies, strict=True):
            self.assertEqual(accuracy, self.report.certified_accuracy(radius))
        # The largest radius of a correct sample; sorted by radius.
        self.assertAlmostEqual(radii[-1], 0.6)
        self.assertAllClose(points.get_data(), [[0.1, 0.5], [0.75, 0.5]])
        self.assertEqual(self.labels(axes), ["certified (proven)", "attacked"])

    def test_reports_are_told_apart_by_title_and_color(self):
        other = dataclasses.replace(self.report, radius=np.ones(4))
        axes = plots.certified_curves({"a": self.report, "b": other}, self.axes)
        colors = [line.get_color() for line in axes.lines]
        self.assertEqual(colors[0], colors[1])
        self.assertEqual(colors[2], colors[3])
        self.assertNotEqual(colors[0], colors[2])
        self.assertEqual(
            self.labels(axes),
            [
                "a, certified (proven)",
                "a, attacked",
                "b, certified (proven)",
                "b, attacked",
            ],
        )

    def test_new_axes_are_of_pyplot(self):
        axes = plots.certified_curves(self.report)
        self.assertIn(axes.figure.number, pyplot.get_fignums())

    def test_reports_in_two_norms_are_refused(self):
        other = dataclasses.replace(self.report, norm="linf")
        with self.assertRaisesRegex(ValueError, r"\['l2', 'linf'\]"):
            plots.certified_curves({"a": self.report, "b": other}, self.axes)

    def test_other_values_are_refused(self):
        with self.assertRaisesRegex(TypeError, "`reports` must be a `Certif"):
            plots.certified_curves([self.report], self.axes)
        with self.assertRaisesRegex(ValueError, "must not be empty"):
            plots.certified_curves({}, self.axes)
        with self.assertRaisesRegex(TypeError, "`axes` must be a `matplotlib"):
            self.report.plot(Figure())


class RadiiHistogramTest(PlotsTestCase):
    def test_correct_and_wrong_samples_are_counted_apart(self):
        axes = plots.radii_histogram(self.report, axes=self.axes, bins=4)
        heights = [bar.get_height() for bar in axes.patches]
        self.assertEqual(sum(heights[:4]), 3)
        self.assertEqual(sum(heights[4:]), 1)
        self.assertEqual(self.labels(axes), ["correct", "wrong"])
        self.assertEmpty(axes.child_axes)

    def test_extremes_of_the_correct_samples_are_shown(self):
        images = np.arange(4.0)[:, None, None, None] * np.ones((4, 2, 2, 1))
        axes = plots.radii_histogram(self.report, images, self.axes)
        least, largest = axes.child_axes
        self.assertEqual(least.get_title(), "least: 0.2, class 0")
        self.assertEqual(largest.get_title(), "largest: 0.6, class 1")
        # Images are scaled to [0, 1] together.
        self.assertAllClose(
            largest.images[0].get_array(), np.full((2, 2), 1 / 3)
        )

    @parameterized.parameters(
        ((3, 2, 2), "a report of 4 samples"),
        ((4, 6), "must be images of one or three"),
    )
    def test_inputs_that_are_no_images_of_the_report_are_refused(
        self, shape, message
    ):
        with self.assertRaisesRegex(ValueError, message):
            plots.radii_histogram(self.report, np.zeros(shape), self.axes)

    def test_other_values_are_refused(self):
        with self.assertRaisesRegex(TypeError, "`report` must be a report"):
            plots.radii_histogram([0.1], axes=self.axes)
        with self.assertRaisesRegex(ValueError, "`bins` must be a positive"):
            plots.radii_histogram(self.report, axes=self.axes, bins=0)


class SingularValuesTest(PlotsTestCase):
    def test_histograms_have_the_same_bins_and_are_shares(self):
        values = {
            "near one": JacobianSingularValues(np.array([[1.0, 0.98]])),
            "far": JacobianSingularValues(np.array([[2.0, 0.1], [1.9, 0.2]])),
        }
        axes = plots.singular_values(values, self.axes, bins=4)
        near, far = (each.get_data() for each in axes.patches)
        self.assertAllClose(near.edges, [0.0, 0.5, 1.0, 1.5, 2.0])
        self.assertAllClose(far.edges, near.edges)
        self.assertAllClose(near.values, [0.0, 0.5, 0.5, 0.0])
        self.assertAllClose(far.values, [0.5, 0.0, 0.0, 0.5])
        self.assertEqual(self.labels(axes), ["near one", "far"])

    def test_a_single_result_has_no_legend(self):
        values = JacobianSingularValues(np.array([[0.5]]))
        axes = plots.singular_values(values, self.axes)
        self.assertIsNone(axes.get_legend())
        self.assertEqual(axes.patches[0].get_data().edges[-1], 1.0)

    def test_other_values_are_refused(self):
        with self.assertRaisesRegex(TypeError, "`values` must be a `Jacobian"):
            plots.singular_values(np.ones(3), self.axes)


class ParetoFrontTest(PlotsTestCase):
    def test_front_is_what_no_other_beats(self):
        accuracies = np.array([0.9, 0.8, 0.95, 0.9, 0.7])
        gains = np.array([0.5, 0.7, 0.2, 0.4, 0.6])
        self.assertEqual(find_front(accuracies, gains), [2, 0, 1])
        # Of equal points one is kept.
        self.assertEqual(find_front(np.ones(2), np.ones(2)), [0])

    def test_points_front_and_labels_are_drawn(self):
        axes = plots.pareto_front(
            [0.9, 0.8, 0.7], [0.5, 0.7, 0.6], ["a", "b", "c"], self.axes
        )
        front, points = axes.lines
        self.assertAllClose(front.get_data(), [[0.9, 0.8], [0.5, 0.7]])
        self.assertAllClose(points.get_xdata(), [0.9, 0.8, 0.7])
        self.assertEqual([t.get_text() for t in axes.texts], [" a", " b", " c"])

    @parameterized.parameters(
        ([0.9], [0.5, 0.6], None),
        ([], [], None),
        ([0.9], [0.5], ["a", "b"]),
    )
    def test_lengths_must_match(self, accuracies, gains, labels):
        with self.assertRaisesRegex(ValueError, "must have the same length"):
            plots.pareto_front(accuracies, gains, labels, self.axes)

    def test_numbers_must_be_finite(self):
        with self.assertRaisesRegex(ValueError, "`gains` must be a finite"):
            plots.pareto_front([0.9], [np.nan], axes=self.axes)
