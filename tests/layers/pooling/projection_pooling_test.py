import math

import keras
import numpy as np
from absl.testing import parameterized
from keras import ops

from keras_lip import bounds
from keras_lip import layers
from keras_lip.autodiff import gradient
from keras_lip.program import freeze
from tests.layers.pooling.pooling_test_case import PoolingTestCase
from tests.lipschitz_test_case import to_numpy

# Outputs of float32, of points within ten of the origin.
ROUNDING = 5e-6

# Far away, for what is infinite.
FAR = 1e4

# Meets itself, in a point and in an edge, and has edges of every direction, a
# double vertex and one that lies on another edge.
TANGLE = [(0, 0), (2, 2), (2, 2), (2, 0), (0, 2), (-1, 2), (1, 2), (1, 1)]

# The same in most tests: JAX compiles each operation for each shape.
NUM_POINTS = 400
NUM_VERTICES = len(TANGLE)


class ProjectionPoolingTest(PoolingTestCase):
    @parameterized.parameters(
        ({}, (6,), (3,)),
        ({"axis": 1}, (4, 3, 2), (2, 3, 2)),
        ({"projection": "point", "axis": -2}, (4, 2), (2, 2)),
        ({"projection": "point", "group_size": 3}, (6,), (2,)),
        ({"projection": "polygon"}, (2, 3, 4), (2, 3, 2)),
        ({"projection": "polyline", "axis": 1}, (4, 3, 2), (2, 3, 2)),
    )
    def test_contract(self, init_kwargs, shape, expected_shape):
        self.run_lipschitz_layer_test(
            layers.ProjectionPooling,
            init_kwargs=init_kwargs,
            input_shape=shape,
            expected_output_shape=expected_shape,
        )

    def make_layer(self, projection, vertices=None, angles=None, theta=None):
        """Returns a layer for one pair, with the given set."""
        number = None
        if projection in ("polygon", "polyline"):
            number = len(vertices)
        layer = layers.ProjectionPooling(projection, number)
        layer.build((None, 2))
        if vertices is not None:
            layer.vertices.assign(np.transpose(vertices)[:, np.newaxis])
        if angles is not None:
            # The inverse of the map onto the angles that are allowed.
            share = (np.array(angles) - 0.01) / (math.pi - 0.02)
            free_angles = np.log(share / (1 - share))
            layer.free_angles.assign(free_angles[np.newaxis])
        if theta is not None:
            share = theta / (math.pi / 2)
            layer.free_theta.assign([np.log(share / (1 - share))])
        return layer

    def assertNotStretched(self, points, outputs):
        """No two of all points have outputs further apart than they are."""
        change = np.abs(outputs[:, np.newaxis] - outputs)
        moved = np.linalg.norm(points[:, np.newaxis] - points, axis=-1)
        self.assertTrue((change <= moved + ROUNDING).all())

    def draw_points(self):
        return self.normal(NUM_POINTS, 2, scale=3).clip(-10, 10)

    def make_random_layer(self, projection):
        vertices = self.normal(NUM_VERTICES, 2, scale=2)
        if projection == "half_lines":
            return self.make_layer(projection, theta=0.7)
        if projection == "point":
            return self.make_layer(projection, vertices[:1])
        if projection == "polygon":
            return self.make_layer(projection, vertices)
        return self.make_layer(projection, vertices, angles=(0.4, 2.0))

    def sampled_distance(self, points, corners):
        """Returns distances to a chain of edges, by sampling it finely."""
        share = np.linspace(0, 1, 20_001)[:, np.newaxis]
        nearest = np.full(len(points), np.inf)
        for start, end in zip(corners[:-1], corners[1:], strict=True):
            samples = start + share * (end - start)
            for i, point in enumerate(points):
                gap = np.square(samples - point).sum(axis=-1).min()
                nearest[i] = min(nearest[i], gap)
        return np.sqrt(nearest)

    def winding_numbers(self, points, corners):
        """Returns how often a closed chain of edges turns around points."""
        rays = (corners - points[:, np.newaxis]) @ np.array([1, 1j])
        turns = np.angle(np.roll(rays, -1, axis=1) / rays).sum(axis=1)
        return np.rint(turns / (2 * np.pi)).astype(int)

    @parameterized.parameters(0.2, 0.7, 1.5)
    def test_half_lines_are_those_of_the_paper(self, theta):
        points = self.draw_points()
        radius = np.linalg.norm(points, axis=-1).astype("float64")
        alpha = np.arctan2(points[:, 1], points[:, 0]).astype("float64")
        expected = np.select(
            [
                (alpha >= 0) & (alpha <= theta + np.pi / 2),
                (alpha < 0) & (-alpha <= theta + np.pi / 2),
            ],
            [
                radius * np.sin(alpha - theta),
                -radius * np.sin(alpha + theta),
            ],
            radius,
        )
        outputs = self.make_layer("half_lines", theta=theta)(points)
        self.assertAllClose(outputs[:, 0], expected, ROUNDING)

    @parameterized.parameters(0.2, 0.7, 1.5)
    def test_half_lines_are_a_polyline_of_one_vertex(self, theta):
        points = self.draw_points()
        expected = self.make_layer("half_lines", theta=theta)(points)
        layer = self.make_layer("polyline", [(0, 0)], angles=(theta, theta))
        self.assertAllClose(layer(points), expected, ROUNDING)

    def test_distance_to_a_point_is_that(self):
        points = self.draw_points()
        expected = np.linalg.norm(points - np.array([1.5, -2.0]), axis=-1)
        outputs = self.make_layer("point", [(1.5, -2.0)])(points)
        self.assertAllClose(outputs[:, 0], expected, ROUNDING)

    @parameterized.parameters(1, 3, 5)
    def test_distance_to_a_point_of_any_dimension_is_exact(self, size):
        layer = layers.ProjectionPooling("point", axis=1, group_size=size)
        x = self.normal(4, 2 * size, 3)
        layer.build(x.shape)
        points = self.normal(size, 2, 1)
        layer.vertices.assign(points)
        # Channels `i`, `2 + i`, ... form a point.
        away = x.reshape(4, size, 2, 3) - points
        expected = np.sqrt(np.square(away.astype("float64")).sum(axis=1))
        self.assertAllClose(layer(x), expected, ROUNDING)
        self.assertEqual(layer.lipschitz_bound(), 1.0)

        model = keras.Sequential([keras.Input((2 * size, 3)), layer])
        program = freeze(model)
        self.assertAllClose(program.run(x), expected, 1e-12)
        wide = x.astype("float64")
        gradient = program.gradient(np.ones(expected.shape), wide)[0]
        unit = (away / expected[:, np.newaxis]).reshape(x.shape)
        self.assertAllClose(gradient, unit, 1e-6)

    def test_config_without_a_group_size_is_in_the_plane(self):
        config = layers.ProjectionPooling("point").get_config()
        del config["group_size"]
        layer = layers.ProjectionPooling.from_config(config)
        self.assertEqual(layer.group_size, 2)

    def test_polygon_is_as_far_as_its_samples(self):
        points = self.draw_points()
        vertices = self.normal(NUM_VERTICES, 2, scale=2)
        corners = np.concatenate([vertices, vertices[:1]]).astype("float64")
        outputs = to_numpy(self.make_layer("polygon", vertices)(points))[:, 0]
        expected = self.sampled_distance(points[:40], corners)
        # Samples are 5e-4 apart, at most.
        self.assertAllClose(np.abs(outputs[:40]), expected, 2.5e-4)

    def test_polygon_is_negative_where_it_winds_an_odd_number_of_times(self):
        points, num_odd = self.draw_points(), 0
        for _ in range(10):
            vertices = self.normal(NUM_VERTICES, 2, scale=2)
            odd = self.winding_numbers(points, vertices) % 2 == 1
            layer = self.make_layer("polygon", vertices)
            outputs = to_numpy(layer(points))[:, 0]
            near = np.abs(outputs) < ROUNDING
            np.testing.assert_array_equal((outputs < 0) | near, odd | near)
            num_odd += odd.sum()
        self.assertGreater(num_odd, 200)

    @parameterized.parameters((0.3, 0.3), (2.9, 0.1), (1.5, 3.0))
    def test_polyline_is_as_its_samples_are(self, *angles):
        points = self.draw_points()
        vertices = self.normal(NUM_VERTICES, 2, scale=2)
        first, last = (
            FAR * np.array([math.cos(angle), sign * math.sin(angle)])
            for angle, sign in zip(angles, (1, -1), strict=True)
        )
        layer = self.make_layer("polyline", vertices, angles)
        outputs = to_numpy(layer(points))[:, 0]

        # No point is as far away as 50.
        corners = [
            vertices[0] + first / 200,
            *vertices,
            vertices[-1] + last / 200,
        ]
        expected = self.sampled_distance(points[:40], np.array(corners))
        # Samples are 2.5e-3 apart.
        self.assertAllClose(np.abs(outputs[:40]), expected, 1.3e-3)

        # A circle far away closes it on the right.
        arc = np.linspace(-angles[1], angles[0], 200)
        circle = FAR * np.stack([np.cos(arc), np.sin(arc)], axis=-1)
        corners = np.concatenate(
            [vertices, vertices[-1:] + last, circle, vertices[:1] + first]
        )
        odd = self.winding_numbers(points, corners) % 2 == 1
        near = np.abs(outputs) < 1e-2
        np.testing.assert_array_equal((outputs < 0) | near, odd | near)

    @parameterized.parameters("half_lines", "point", "polygon", "polyline")
    def test_no_pair_of_points_is_stretched(self, projection):
        for _ in range(10):
            layer = self.make_random_layer(projection)
            bound = layer.lipschitz_bound()
            x = self.draw_points()
            for step in (3.0, 0.3):
                y = x + self.normal(NUM_POINTS, 2, scale=step)
                change = np.abs(to_numpy(layer(x)) - to_numpy(layer(y)))[:, 0]
                moved = np.linalg.norm((y - x).astype("float64"), axis=-1)
                self.assertTrue((change <= bound * moved + ROUNDING).all())

    @parameterized.product(
        projection=("polygon", "polyline"),
        grid=(((1, 1), 1 / 4), ((2, 2), 1e-3), ((0, 2), 1e-3), ((1, 1), 1e-3)),
    )
    def test_no_lattice_point_is_on_the_wrong_side(self, projection, grid):
        # Points are level with vertices, on edges and in line with them.
        angles = (math.pi / 2, 1.0) if projection == "polyline" else None
        layer = self.make_layer(projection, TANGLE, angles)
        points = lattice(*grid)
        outputs = to_numpy(layer(points))[:, 0]
        self.assertNotStretched(points, outputs)
        self.assertLess(outputs.min(), 0)
        self.assertGreater(outputs.max(), 0)

    @parameterized.parameters(-200.0, -20.0, 0.0, 20.0, 200.0)
    def test_half_lines_stay_between_the_axes(self, free_theta):
        # Up to where the sigmoid is zero and one.
        layer = self.make_layer("half_lines")
        layer.free_theta.assign([free_theta])
        cosine, sine = (to_numpy(values)[0] for values in layer._compute_set())
        self.assertGreaterEqual(sine, 0)
        self.assertGreater(cosine, -1e-7)
        self.assertAlmostEqual(layer.lipschitz_bound(), 1, delta=1e-6)
        points = lattice((0, 0), 1 / 4)
        self.assertNotStretched(points, to_numpy(layer(points))[:, 0])

    @parameterized.product(
        free_angle=(-200.0, 0.0, 200.0), dtype=("float32", "mixed_bfloat16")
    )
    def test_ends_of_a_polyline_stay_up_and_down(self, free_angle, dtype):
        layer = layers.ProjectionPooling("polyline", dtype=dtype)
        layer.build((None, 2))
        layer.free_angles.assign([[free_angle, -free_angle]])
        *_, sines = map(to_numpy, layer._compute_set())
        self.assertGreater(sines[0, 0], 5e-4)
        self.assertLess(sines[0, 1], -5e-4)

    def test_bound_of_half_lines_is_the_longest_direction(self):
        layer = layers.ProjectionPooling()
        layer.build((None, 400))
        layer.free_theta.assign(self.normal(200, scale=3))
        directions = [to_numpy(values) for values in layer._compute_set()]
        longest = np.hypot(*np.array(directions, dtype="longdouble")).max()
        bound = layer.lipschitz_bound()
        self.assertGreater(longest, 1)
        self.assertGreaterEqual(bound, longest)
        self.assertLess(bound - float(longest), 1e-15)

    @parameterized.parameters("point", "polygon", "polyline")
    def test_bound_of_other_sets_is_one(self, projection):
        layer = self.make_random_layer(projection)
        self.assertEqual(layer.lipschitz_bound(), 1.0)

    @parameterized.parameters("half_lines", "point", "polygon", "polyline")
    def test_bound_of_weights_that_are_no_numbers_is_infinite(self, projection):
        for index in range(len(self.make_random_layer(projection).weights)):
            layer = self.make_random_layer(projection)
            weight = layer.weights[index]
            weight.assign(np.full(weight.shape, np.nan))
            self.assertEqual(layer.lipschitz_bound(), math.inf)

    @parameterized.parameters("half_lines", "point", "polygon", "polyline")
    def test_gradient_has_norm_one_and_is_finite_on_the_set(self, projection):
        layer = self.make_random_layer(projection)
        points = self.draw_points()
        points[0] = 0.0
        if projection != "half_lines":
            points[0] = to_numpy(layer.vertices)[:, 0, 0]
        slopes = gradient(layer, ops.convert_to_tensor(points))
        norms = np.linalg.norm(to_numpy(slopes), axis=-1)
        self.assertAllClose(norms[1:], np.ones(NUM_POINTS - 1), 1e-5)
        # A gradient passes where half-lines meet: zero is a common input.
        least = math.sin(0.7) if projection == "half_lines" else 0.0
        self.assertBetween(norms[0], least - 1e-6, 1 + 1e-6)

    @parameterized.parameters("half_lines", "point", "polygon", "polyline")
    def test_weights_stay_finite_where_distances_are_zero(self, projection):
        layer = layers.ProjectionPooling(projection)
        model = keras.Sequential([keras.Input((4,)), layer])
        model.compile("sgd", "mse")
        if projection == "polygon":
            # All vertices, and the edges between them, in one point.
            layer.vertices.assign(np.zeros(layer.vertices.shape))
        model.fit(np.zeros((8, 4)), np.ones((8, 2)), verbose=0)
        for weight in layer.weights:
            self.assertTrue(np.isfinite(to_numpy(weight)).all())

    @parameterized.parameters("half_lines", "point", "polygon", "polyline")
    def test_training_moves_the_set_to_where_it_belongs(self, projection):
        target = self.make_random_layer(projection)
        x = self.draw_points()
        number = target.num_vertices
        layer = layers.ProjectionPooling(projection, number)
        model = keras.Sequential([keras.Input((2,)), layer])
        model.compile(keras.optimizers.Adam(0.03), "mse")
        y = to_numpy(target(x))
        history = model.fit(x, y, batch_size=50, epochs=12, verbose=0)
        losses = history.history["loss"]
        self.assertLess(losses[-1], losses[0] / 2)

    def test_certificates_see_float64(self):
        layer = self.make_random_layer("polyline")
        inputs = keras.Input((2,))
        model = keras.Model(inputs, layer(inputs))
        x = self.draw_points()
        logits = freeze(model).run(x)
        self.assertAllClose(logits, model(x), ROUNDING)
        # Not rounded to float32 on the way.
        self.assertGreater(np.abs(logits - logits.astype("float32")).max(), 0)
        self.assertEqual(bounds.lipschitz_bound(model), 1.0)

    def test_square_in_float64_is_exact(self):
        # The edges of this square are not exact in float32.
        corners = np.array([(-1e4, 0.1), (0.1, 0.1), (0.1, 1e4), (-1e4, 1e4)])
        corners = np.repeat(corners.astype("float32"), 2, axis=0)
        layer = self.make_layer("polygon", corners)
        inputs = keras.Input((2,))
        model = keras.Model(inputs, layer(inputs))
        right = float(corners[2, 0])
        x = np.array([[right + 2.0**-40, 5.0], [right - 2.0**-40, 5.0]])
        logits = freeze(model).run(np.tile(x, (NUM_POINTS // 2, 1)))
        self.assertAllClose(logits[:2, 0] * 2.0**40, [1.0, -1.0], 1e-3)

    def test_invalid_arguments_are_refused(self):
        with self.assertRaisesRegex(ValueError, "Unknown projection: 'plane'"):
            layers.ProjectionPooling("plane")
        for number in (0, 1.5, "3"):
            with self.assertRaisesRegex(ValueError, "`num_vertices` must be"):
                layers.ProjectionPooling("polygon", number)
        with self.assertRaisesRegex(ValueError, "of a polygon must be at leas"):
            layers.ProjectionPooling("polygon", 2)
        for projection in ("half_lines", "point"):
            with self.assertRaisesRegex(ValueError, "`num_vertices` is for"):
                layers.ProjectionPooling(projection, 3)

        for size in (0, 2.5, "3"):
            with self.assertRaisesRegex(ValueError, "`group_size` must be"):
                layers.ProjectionPooling("point", group_size=size)
        for projection in ("half_lines", "polygon", "polyline"):
            with self.assertRaisesRegex(ValueError, "must be 2, because.*=3"):
                layers.ProjectionPooling(projection, group_size=3)

    def test_invalid_inputs_are_refused(self):
        with self.assertRaisesRegex(ValueError, "multiple of 3.*4 channels"):
            layers.ProjectionPooling("point", group_size=3)(self.normal(2, 4))
        with self.assertRaisesRegex(ValueError, "multiple of 2.*5 channels"):
            layers.ProjectionPooling()(self.normal(2, 5))
        with self.assertRaisesRegex(ValueError, "`axis` of layer"):
            layers.ProjectionPooling(axis=3)(self.normal(2, 6))
        layer = layers.ProjectionPooling()
        layer(self.normal(2, 6))
        with self.assertRaisesRegex(ValueError, "expected axis -1"):
            layer(self.normal(2, 4))


def lattice(center, step):
    """Returns `NUM_POINTS` of a square lattice, the center among them."""
    ticks = step * np.arange(-10, 10)
    points = np.stack(np.meshgrid(ticks, ticks), axis=-1) + np.array(center)
    return points.reshape(-1, 2).astype("float32")
