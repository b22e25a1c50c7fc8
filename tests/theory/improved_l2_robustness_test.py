"""Singla & Feizi, 2022, https://arxiv.org/abs/2211.08453."""

import math

import keras
import numpy as np

from keras_lip.certificates import certify
from keras_lip.models import LipschitzSequential
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy


def exponential(matrix, terms=24):
    """Returns the exponential series up to the power `terms - 1`."""
    total = power = np.eye(len(matrix))
    for index in range(1, terms):
        power = power @ matrix / index
        total = total + power
    return total


def recursion(matrix, vector, terms):
    """Returns the vectors of equation 2, or of equation 3 for `-matrix`."""
    vectors = [vector]
    for index in reversed(range(terms - 1)):
        vectors.append(vector + matrix @ vectors[-1] / (index + 1))
    return vectors[::-1]


class SkewGradientTest(LipschitzTestCase):
    """The gradient of `g^T exp(L - L^T) x` by `L`, section 4."""

    def setUp(self):
        super().setUp()
        self.free = self.rng.normal(size=(5, 5))
        self.x, self.g = self.rng.normal(size=(2, 5))

    def differentiate(self, free):
        gradient = np.zeros_like(free)
        for index in np.ndindex(free.shape):
            step = np.zeros_like(free)
            step[index] = 1e-5
            values = [
                self.g @ exponential(each - each.T) @ self.x
                for each in (free + step, free - step)
            ]
            gradient[index] = (values[0] - values[1]) / 2e-5
        return gradient

    def equation_4(self, free, divide, terms=24):
        matrix = free - free.T
        v = recursion(-matrix, self.g, terms)
        power, total = self.x, 0
        for index in range(1, terms):
            outer = np.outer(v[index], power)
            scale = math.factorial(index) if divide else 1
            total = total + (outer - outer.T) / scale
            power = matrix @ power
        return total

    def equation_5(self, free):
        matrix = free - free.T
        u = recursion(matrix, self.x, 24)[1]
        v = recursion(-matrix, self.g, 24)[1]
        return np.outer(v, u) - np.outer(u, v)

    def test_recursion_sums_one_term_less_than_equation_1(self):
        matrix = self.free - self.free.T
        for terms in (1, 2, 5):
            self.assertAllClose(
                recursion(matrix, self.x, terms)[0],
                exponential(matrix, terms) @ self.x,
                1e-12,
            )

    def test_exact_gradient_needs_a_factorial(self):
        free = 0.2 * self.free
        exact = self.differentiate(free)
        self.assertAllClose(self.equation_4(free, divide=True), exact, 1e-8)
        printed = self.equation_4(free, divide=False)
        self.assertGreater(np.abs(printed - exact).max(), 0.05)

    def test_fast_gradient_is_exact_in_two_orders(self):
        errors = []
        for scale in (0.002, 0.001):
            free = scale * self.free
            exact = self.equation_4(free, divide=True)
            errors.append(np.abs(self.equation_5(free) - exact).max())
        # Of the third order on, the errors would fall by eight, and with the
        # printed equation 4 by two.
        self.assertBetween(errors[0] / errors[1], 3.8, 4.2)
        matrix = 0.001 * (self.free - self.free.T)
        first = np.outer(-matrix @ self.g, matrix @ self.x)
        expected = (1 / 4 - 1 / 6) * (first - first.T)
        found = self.equation_5(free) - exact
        self.assertAllClose(found, expected, 0.02 * np.abs(expected).max())


class LargestLogitsTest(LipschitzTestCase):
    """Section 7 certifies CIFAR-100 against the ten largest logits."""

    def make_model(self, classes):
        logits = keras.layers.Dense(classes)
        model = LipschitzSequential([keras.Input((1,)), logits])
        kernel = np.zeros((1, 12))
        kernel[0, 0], kernel[0, 11] = 0.01, 100.0
        bias = np.array([1.0, *[0.9] * 10, 0.0])
        logits.set_weights([kernel[:, :classes], bias[:classes]])
        return model

    def test_ten_largest_logits_prove_nothing(self):
        x = np.zeros((1, 1))
        largest = self.make_model(10)
        claimed = float(certify(largest, x, [0]).radius[0])
        self.assertAlmostEqual(claimed, 10.0, delta=1e-4)
        model = self.make_model(12)
        order = np.argsort(-to_numpy(model(x))[0])
        self.assertEqual((order[0], order[-1]), (0, 11))
        proven = float(certify(model, x, [0]).radius[0])
        self.assertAlmostEqual(proven, 1 / 99.99, delta=1e-6)
        moved = to_numpy(model(np.array([[0.0101]])))[0]
        self.assertEqual(moved.argmax(), 11)


class HalfLinesTest(LipschitzTestCase):
    def distance(self, point, theta):
        """Returns the distance from the half-lines at `theta` and `-theta`."""
        found = []
        for sign in (1, -1):
            ray = np.array([np.cos(theta), sign * np.sin(theta)])
            nearest = max(point @ ray, 0.0) * ray
            found.append(np.linalg.norm(point - nearest))
        return min(found)

    def equation_9(self, point, theta):
        radius = np.linalg.norm(point)
        alpha = math.atan2(point[1], point[0])
        if 0 <= alpha <= theta + np.pi / 2:
            return radius * np.sin(alpha - theta)
        if 0 < -alpha <= theta + np.pi / 2:
            return -radius * np.sin(alpha + theta)
        return radius

    def test_equation_9_is_a_distance_for_angles_up_to_a_half_pi(self):
        points = self.rng.normal(size=(200, 2))
        for theta in (0.0, 0.3, 1.2, np.pi / 2):
            for point in points:
                self.assertAlmostEqual(
                    abs(self.equation_9(point, theta)),
                    self.distance(point, theta),
                    delta=1e-12,
                )
        point, theta = np.array([1.0, 0.0]), 3 * np.pi / 4
        self.assertEqual(self.distance(point, theta), 1.0)
        self.assertAlmostEqual(
            abs(self.equation_9(point, theta)), math.sqrt(0.5), delta=1e-12
        )
