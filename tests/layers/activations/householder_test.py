import math
from fractions import Fraction

import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import layers
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy

# A few roundings of float32.
ROUNDING = 1e-6


class HouseholderTest(LipschitzTestCase):
    @parameterized.parameters(
        (1, -1, (6,)), (2, -1, (2, 4)), (2, 1, (4, 3, 2)), (1, -2, (2, 2, 3))
    )
    def test_contract(self, order, axis, shape):
        self.run_lipschitz_layer_test(
            layers.Householder,
            init_kwargs={"order": order, "axis": axis},
            input_shape=shape,
            expected_output_shape=shape,
        )

    def make_layer(self, order, *angles, dtype=None):
        """Returns a layer for one pair, with the given angles."""
        layer = layers.Householder(order, dtype=dtype)
        layer.build((None, 2))
        layer.theta.assign(np.reshape(angles, (order, 1)))
        return layer

    def circle(self, num_points):
        angle = np.linspace(0, 2 * np.pi, num_points, endpoint=False)
        points = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
        return points.astype("float32")

    @parameterized.parameters(-1, 1)
    def test_first_order_starts_as_maximum_and_minimum(self, axis):
        x = self.normal(64, 4, 6)
        expected = layers.MaxMin(axis)(x)
        self.assertAllClose(layers.Householder(1, axis)(x), expected, ROUNDING)

    def test_second_order_starts_with_four_quadrants(self):
        x = self.normal(64, 2)
        magnitude = np.sort(np.abs(x), axis=-1)[:, ::-1]
        outputs = to_numpy(layers.Householder(2)(x))
        self.assertAllClose(np.abs(outputs), magnitude, ROUNDING)
        # All of the plane is folded into the sector about the first axis.
        self.assertTrue((outputs[:, 0] >= np.abs(outputs[:, 1]) - 1e-6).all())

    @parameterized.parameters(0.0, 0.7, 2.0, -2.5, 9.0)
    def test_first_order_is_that_of_the_paper(self, theta):
        x = self.normal(256, 2)
        sine, cosine = math.sin(theta), math.cos(theta)
        reflection = np.array([[cosine, sine], [sine, -cosine]])
        side = x @ [math.sin(theta / 2), -math.cos(theta / 2)]
        expected = np.where(side[:, None] > 0, x, x @ reflection.T)
        outputs = self.make_layer(1, theta)(x)
        self.assertAllClose(outputs, expected, 2 * ROUNDING)

    @parameterized.parameters((0.7,), (-2.5,), (0.7, 2.9), (4.0, 1.0))
    def test_plane_is_mapped_continuously(self, *angles):
        layer = self.make_layer(len(angles), *angles)
        points = self.circle(3600)
        outputs = to_numpy(layer(points)).astype("float64")
        steps = np.linalg.norm(outputs - np.roll(outputs, 1, axis=0), axis=-1)
        # Neighbours on the circle are 2 pi / 3600 = 0.00175 apart.
        self.assertLessEqual(steps.max(), 0.00175)
        # No point is mapped to another norm, or by no piece at all.
        self.assertAllClose(np.linalg.norm(outputs, axis=-1), np.ones(3600))

    @parameterized.parameters((0.7,), (-2.5,), (0.7, 2.9), (4.0, 1.0))
    def test_every_piece_is_orthogonal(self, *angles):
        layer = self.make_layer(len(angles), *angles)
        points, step = self.circle(720), 1e-2

        def slopes(step):
            columns = [
                (to_numpy(layer(points + step * e)) - to_numpy(layer(points)))
                / step
                for e in np.eye(2, dtype="float32")
            ]
            return np.stack(columns, axis=-1)

        jacobian, backward = slopes(step), slopes(-step)
        inside = np.abs(jacobian - backward).max(axis=(1, 2)) < 1e-3
        self.assertGreater(inside.mean(), 0.95)
        jacobian = jacobian[inside]
        gram = np.swapaxes(jacobian, 1, 2) @ jacobian
        # Outputs are off by 1e-7, slopes by that over the step.
        self.assertAllClose(gram, np.broadcast_to(np.eye(2), gram.shape), 1e-3)
        pieces = np.unique(np.round(jacobian, 1) + 0.0, axis=0)
        self.assertLen(pieces, 2 ** len(angles))

    def test_bound_is_of_the_normals_that_run(self):
        for theta in self.rng.uniform(-10, 10, 50):
            layer = self.make_layer(1, theta)
            v = to_numpy(layer._compute_normals())[0, :, 0]
            square = sum(Fraction(float(x)) ** 2 for x in v)
            # The eigenvalues of `I - 2 v v^T`, in exact arithmetic.
            exact = max(1, abs(1 - 2 * square))
            bound = layer.lipschitz_bound()
            self.assertGreaterEqual(Fraction(bound), exact)
            self.assertLess(bound - float(exact), 4e-15)
            self.assertLess(bound, 1 + 1e-6)

    def test_bound_of_bfloat16_sees_its_rounding(self):
        bounds = [
            self.make_layer(1, theta, dtype="mixed_bfloat16").lipschitz_bound()
            for theta in (0.7, 1.1, 2.0, 2.6)
        ]
        self.assertGreater(max(bounds), 1 + 1e-4)
        self.assertLess(max(bounds), 1 + 2e-2)

    def test_bound_of_two_folds_is_their_product(self):
        layer = self.make_layer(2, 0.7, 2.9, dtype="mixed_bfloat16")
        folds = [
            self.make_layer(1, theta, dtype="mixed_bfloat16").lipschitz_bound()
            for theta in (0.7, 2.9)
        ]
        self.assertAlmostEqual(
            layer.lipschitz_bound(), math.prod(folds), delta=1e-12
        )

    def test_bound_of_an_angle_that_is_no_number_is_infinite(self):
        layer = self.make_layer(1, np.nan)
        self.assertEqual(layer.lipschitz_bound(), math.inf)

    def test_both_angles_are_trained(self):
        layer = layers.Householder(2)
        model = keras.Sequential([keras.Input((6,)), layer])
        model.compile("sgd", "mse")
        before = to_numpy(layer.theta).copy()
        model.fit(self.normal(32, 6), self.normal(32, 6), verbose=0)
        change = np.abs(to_numpy(layer.theta) - before)
        self.assertGreater(change.min(), 0)

    def test_invalid_arguments_are_refused(self):
        for order in (0, 3, 1.5, True, "1"):
            with self.assertRaisesRegex(ValueError, "`order` must be 1 or 2"):
                layers.Householder(order)
        with self.assertRaisesRegex(ValueError, "multiple of 2.*5 channels"):
            layers.Householder()(self.normal(2, 5))
        with self.assertRaisesRegex(ValueError, "`axis` of layer"):
            layers.Householder(axis=3)(self.normal(2, 6))

    def test_another_number_of_channels_is_refused(self):
        layer = self.make_layer(1, 0.7)
        with self.assertRaisesRegex(ValueError, "expected axis -1"):
            layer(self.normal(3, 4))
