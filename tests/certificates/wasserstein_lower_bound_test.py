import dataclasses
import importlib
import math

import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import layers
from keras_lip.certificates import wasserstein_lower_bound
from tests.lipschitz_test_case import LipschitzTestCase

MODULE = importlib.import_module(
    "keras_lip.certificates.wasserstein_lower_bound"
)


def make_critic(slope=2.0, size=1):
    """The critic `slope * x[0]`."""
    critic = keras.Sequential([keras.Input((size,)), keras.layers.Dense(1)])
    kernel = np.zeros((size, 1))
    kernel[0] = slope
    critic.set_weights([kernel, np.array([0.25])])
    return critic


class WassersteinLowerBoundTest(LipschitzTestCase):
    def test_the_estimate_is_divided_by_the_proven_bound(self):
        x1 = np.array([[1.0], [3.0], [5.0], [7.0]])
        x2 = np.array([[0.0], [1.0]])
        report = wasserstein_lower_bound(make_critic(), x1, x2, diameter=8.0)
        self.assertGreaterEqual(report.lipschitz_bound, 2.0)
        self.assertAllClose(report.estimate, 4.0 - 0.5)
        # Variances of 20 / 3 and 1 / 2.
        expected = math.sqrt(20 / 3 / 4 + 1 / 2 / 2)
        self.assertAllClose(report.standard_error, expected)
        self.assertEqual(report.num_samples, (4, 2))
        self.assertEqual(report.norm, "l2")

    def test_the_sharper_inequality_is_used(self):
        values = self.rng.uniform(0, 1, (2, 50, 1))
        values[0] += 3
        report = wasserstein_lower_bound(
            make_critic(), values[0], values[1], diameter=1.0, confidence=0.9
        )
        hoeffding = math.sqrt(math.log(2 / 0.1) / 2 * (2 / 50))
        expected = values[0].mean() - values[1].mean() - hoeffding
        self.assertAllClose(report.lower_bound, expected, atol=1e-6)

        # Values that hardly vary in a large support.
        many = np.tile(values[0], (400, 1)), np.tile(values[1], (400, 1))
        report = wasserstein_lower_bound(make_critic(), *many, diameter=10.0)
        log, number = math.log(8 / 0.05), 20000
        gap = many[0].mean() - many[1].mean()
        for each in many:
            gap -= each.std(ddof=1) * math.sqrt(2 * log / number)
            gap -= 7 * 10 * log / (3 * (number - 1))
        self.assertAllClose(report.lower_bound, gap, atol=1e-5)
        worse = 10 * math.sqrt(math.log(2 / 0.05) / number)
        self.assertGreater(gap, many[0].mean() - many[1].mean() - worse)

    @parameterized.parameters(8, 40, 400)
    def test_the_bound_holds_as_often_as_promised(self, number):
        # A point at zero, and a distribution on zero and one with the distance
        # `rare` from it: few samples miss how rare ones are.
        rare, runs, nothing = 0.25, 500, np.zeros(number)
        found = []
        for _ in range(runs):
            draws = (self.rng.uniform(size=number) < rare).astype(float)
            pair = [MODULE._summarize(x, nothing) for x in (draws, nothing)]
            found.append(MODULE._lower_gap(pair, 1.0, 0.7))
        wrong = np.mean(np.array(found) > rare)
        self.assertLessEqual(wrong, 0.3 + 3 * math.sqrt(0.21 / runs))

    def test_a_box_gives_its_diagonal(self):
        x = self.rng.uniform(-1, 1, (5, 9)).astype("float32")
        for norm, diameter in (("l2", 6.0), ("linf", 2.0)):
            report = wasserstein_lower_bound(
                make_critic(size=9), x, x, bounds=(-1, 1), norm=norm
            )
            self.assertAllClose(report.diameter, diameter)
            self.assertGreaterEqual(report.diameter, diameter)

    def test_a_distance_is_at_least_zero(self):
        x = self.rng.uniform(0, 1, (5, 1))
        for options in ({"diameter": 1.0}, {}):
            report = wasserstein_lower_bound(make_critic(), x, x + 1, **options)
            self.assertLess(report.estimate, -0.9)
            self.assertEqual(report.lower_bound, 0.0)

    def test_errors_of_outputs_count(self):
        values, errors = self.rng.normal(size=20), np.full(20, 0.125)
        exact = MODULE._summarize(values, np.zeros(20))
        found = MODULE._summarize(values, errors)
        self.assertAllClose(exact.low, values.mean())
        self.assertLessEqual(exact.low, exact.high)
        self.assertAllClose(found.low, exact.low - 0.125)
        self.assertAllClose(found.high, exact.high + 0.125)
        off = 0.125 * math.sqrt(20 / 19)
        self.assertAllClose(found.deviation_bound, values.std(ddof=1) + off)
        self.assertGreaterEqual(exact.deviation_bound, values.std(ddof=1))
        self.assertAllClose(found.spread, np.ptp(values) - 0.25)

    def test_layers_of_the_library_and_batches_are_accepted(self):
        critic = keras.Sequential(
            [
                keras.Input((4,)),
                layers.OrthogonalDense(4),
                layers.MaxMin(),
                layers.UnitNormDense(1),
            ]
        )
        x1, x2 = self.normal(6, 4), self.normal(7, 4)
        whole = wasserstein_lower_bound(critic, x1, x2)
        batches = wasserstein_lower_bound(
            critic, iter([x1[:2], x1[2:]]), iter([(x2, np.zeros(7))])
        )
        self.assertEqual(whole.num_samples, (6, 7))
        self.assertAllClose(batches.estimate, whole.estimate)

    def test_the_report_is_frozen_and_readable(self):
        x = self.rng.uniform(0, 1, (5, 1))
        report = wasserstein_lower_bound(make_critic(), x, x)
        with self.assertRaises(dataclasses.FrozenInstanceError):
            report.estimate = 1.0
        self.assertRegex(str(report), "proven.*2")
        self.assertIn("unknown without `diameter`", str(report))
        report = wasserstein_lower_bound(make_critic(), x, x, diameter=1.0)
        self.assertIn("with confidence 0.95: 0", str(report))

    @parameterized.parameters(0.0, 1.0, -0.5, math.nan, "high")
    def test_impossible_confidence_is_refused(self, confidence):
        x = np.zeros((3, 1))
        with self.assertRaisesRegex(ValueError, "`confidence` must be"):
            wasserstein_lower_bound(make_critic(), x, x, confidence)

    def test_invalid_critics_are_refused(self):
        x = np.ones((3, 2))
        two = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
        message = r"must have one output.*UnitNormDense.*shape \(None, 2\)"
        with self.assertRaisesRegex(ValueError, message):
            wasserstein_lower_bound(two, x, x)
        inputs = keras.Input((2,))
        heads = [keras.layers.Dense(1)(inputs) for _ in range(2)]
        both = keras.Model(inputs, heads)
        message = r"must have one output.*model.outputs\[0\].*2 outputs"
        with self.assertRaisesRegex(ValueError, message):
            wasserstein_lower_bound(both, x, x, diameter=2.0)
        one = keras.Model(both.inputs, both.outputs[0])
        report = wasserstein_lower_bound(one, x, x, diameter=2.0)
        self.assertEqual(report.estimate, 0.0)
        unknown = keras.Sequential(
            [
                keras.Input((2,)),
                keras.layers.LayerNormalization(),
                keras.layers.Dense(1),
            ]
        )
        with self.assertRaisesRegex(ValueError, "LayerNormalization"):
            wasserstein_lower_bound(unknown, x, x)
        for slope in (0.0, math.nan):
            with self.assertRaisesRegex(ValueError, "positive and finite"):
                wasserstein_lower_bound(make_critic(slope, 2), x, x)
        with self.assertRaisesRegex(TypeError, "`keras.Model` is expected"):
            wasserstein_lower_bound(layers.MaxMin(), x, x)

    def test_invalid_samples_are_refused(self):
        critic, x = make_critic(), np.ones((3, 1))
        with self.assertRaisesRegex(ValueError, "at least two samples"):
            wasserstein_lower_bound(critic, x, x[:1])
        with self.assertRaisesRegex(ValueError, "finite numbers"):
            wasserstein_lower_bound(critic, x, x * math.inf)
        with self.assertRaisesRegex(ValueError, "must have shape"):
            wasserstein_lower_bound(critic, x, np.ones((3, 2)))
        images = keras.Sequential(
            [
                keras.Input((None, None, 1)),
                keras.layers.GlobalMaxPooling2D(),
            ]
        )
        sizes = np.ones((2, 4, 4, 1)), np.ones((2, 5, 5, 1))
        with self.assertRaisesRegex(ValueError, "the same shape"):
            wasserstein_lower_bound(images, *sizes)
        with self.assertRaisesRegex(ValueError, "`x1` must have the same"):
            wasserstein_lower_bound(images, iter(sizes), sizes[0])

    def test_false_supports_are_refused(self):
        critic, x = make_critic(), np.array([[0.0], [4.0]])
        with self.assertRaisesRegex(ValueError, "for `x2` prove a larger"):
            wasserstein_lower_bound(critic, x / 2, x, diameter=3.0)
        with self.assertRaisesRegex(ValueError, "within `bounds`"):
            wasserstein_lower_bound(critic, x, x, bounds=(0, 1))
        with self.assertRaisesRegex(ValueError, "Only one of"):
            wasserstein_lower_bound(critic, x, x, diameter=9, bounds=(0, 9))
        for diameter in (0.0, math.inf):
            with self.assertRaisesRegex(ValueError, "`diameter` must be"):
                wasserstein_lower_bound(critic, x, x, diameter=diameter)
