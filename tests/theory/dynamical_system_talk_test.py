"""Meunier et al., 2022: slides on flows and their discretizations."""

import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import layers
from keras_lip.bounds import contraction_bound
from keras_lip.models import LipschitzSequential
from tests.lipschitz_test_case import LipschitzTestCase


class DynamicalSystemTalkTest(LipschitzTestCase):
    def test_flow_stretches_within_the_two_sides(self):
        # `F(x) = -W^T tanh(W x) + A x` has the symmetric part of a Jacobian
        # between `-|W|^2` and zero.
        kernel, free = self.rng.normal(size=(2, 3, 3))
        skew = free - free.T

        def field(points):
            return -np.tanh(points @ kernel.T) @ kernel + points @ skew.T

        x, z = 0.3 * self.rng.normal(size=(2, 50, 3))
        before = np.linalg.norm(x - z, axis=1)
        points, step = np.concatenate([x, z]), 1e-2
        for _ in range(100):
            # Runge-Kutta of the fourth order.
            a = field(points)
            b = field(points + step / 2 * a)
            c = field(points + step / 2 * b)
            d = field(points + step * c)
            points = points + step / 6 * (a + 2 * b + 2 * c + d)
        after = np.linalg.norm(points[:50] - points[50:], axis=1)
        stretch = after / before
        least = np.exp(-(np.linalg.norm(kernel, 2) ** 2))
        self.assertLessEqual(stretch.max(), 1 + 1e-6)
        self.assertGreaterEqual(stretch.min(), least - 1e-6)
        self.assertLess(stretch.min(), 0.5)

    @parameterized.parameters((0.5, 0.5), (1.0, 0.0), (2.0, 0.0))
    def test_discretized_potential_loses_the_lower_side(self, step, expected):
        block = layers.ConvexPotentialDense(
            1,
            activation="linear",
            step=step,
            kernel_initializer=keras.initializers.Constant([[0.6], [0.8]]),
        )
        model = LipschitzSequential([keras.Input((2,)), block])
        found = contraction_bound(model)
        self.assertAlmostEqual(found, expected, delta=1e-6)
        # Along the kernel distances are multiplied by `1 - step`.
        moved = model(np.array([[0.6, 0.8], [0.0, 0.0]]))
        self.assertAllClose(
            moved, [[0.6 * (1 - step), 0.8 * (1 - step)], [0, 0]], 1e-6
        )

    @parameterized.parameters(0.1, 1.0, 3.0)
    def test_the_two_schemes_of_a_rotation_differ_by_half_the_time(self, a):
        skew, eye = np.array([[0.0, -a], [a, 0.0]]), np.eye(2)
        midpoint = np.linalg.solve(eye - skew / 2, eye + skew / 2)
        exponential = np.array(
            [
                [np.cos(a / 2), -np.sin(a / 2)],
                [np.sin(a / 2), np.cos(a / 2)],
            ]
        )
        angles = [
            np.arctan2(each[1, 0], each[0, 0])
            for each in (midpoint, exponential)
        ]
        self.assertAllClose(angles, [2 * np.arctan(a / 2), a / 2], 1e-12)
        for each in (midpoint, exponential):
            self.assertAllClose(each @ each.T, eye, 1e-12)
        # A step of the forward Euler method expands.
        self.assertAlmostEqual(
            np.linalg.norm(eye + skew, 2), np.sqrt(1 + a**2), delta=1e-12
        )
