import json
from unittest import mock

import keras
import numpy as np
import pytest

import keras_lip as kl
from tests.lipschitz_test_case import LipschitzTestCase
from tests.load_script import load_example
from tests.marks import on_pytorch_alone

pytestmark = pytest.mark.slow


class DistanceFieldTest(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        self.script = load_example("distance_field")

    @on_pytorch_alone
    def test_smoke_run_crosses_no_surface(self):
        output = self.temporary_path("distance_field")
        with mock.patch("builtins.print"):
            self.script.main(["--smoke", "--output", str(output)])
        self.assertTrue((output / "distance_field.png").exists())
        path = output / "distance_field.json"
        proven, ordinary = json.loads(path.read_text())["rows"]
        self.assertEqual(proven["crossed"], 0)
        self.assertBetween(proven["lipschitz_bound"], 1.0, 1.0001)
        self.assertLessEqual(
            proven["largest_slope"], proven["lipschitz_bound"] + 1e-5
        )
        self.assertNotIn("lipschitz_bound", ordinary)
        self.assertLess(proven["mean_error"], 0.2)
        self.assertGreater(proven["hits"], 5)

    def test_rays_of_any_network_stop_before_its_surface(self):
        # Untrained, with surfaces anywhere.
        for seed in range(3):
            keras.utils.set_random_seed(seed)
            model, _ = self.script.make_networks(16, 2)
            *others, bias = model.get_weights()
            model.set_weights([*others, bias + 0.3])

            def field(x, model=model):
                return model.predict(x.astype("float32"), verbose=0)[:, 0]

            origins = self.rng.uniform(-1.4, 1.4, (40, 2))
            origins = origins[field(origins) > 0.05]
            self.assertNotEmpty(origins)
            directions = self.rng.normal(size=origins.shape)
            directions /= np.linalg.norm(directions, axis=1, keepdims=True)
            path = self.script.trace(
                lambda x, model=model: kl.certificates.certified_radius(
                    model, x
                ),
                origins,
                directions,
                20,
                1e-3,
            )
            crossed = self.script.find_crossings(
                field, origins, directions, path
            )
            self.assertFalse(np.any(crossed))

    @on_pytorch_alone
    def test_a_steep_field_is_passed_and_a_flat_one_is_not(self):
        # A wall at 0.5 that is left again at 0.6.
        def field(x):
            return np.abs(x[:, 0] - 0.55) - 0.05

        origins = np.array([[0.0, 0.0], [0.0, 0.2]])
        directions = np.array([[1.0, 0.0], [-1.0, 0.0]])
        for factor, expected in ((1.0, False), (0.5, False), (1.3, True)):

            def safe_distance(x, factor=factor):
                return factor * np.abs(field(x))

            path = self.script.trace(
                safe_distance, origins, directions, 50, 1e-3
            )
            crossed = self.script.find_crossings(
                field, origins, directions, path
            )
            self.assertEqual(list(crossed), [expected, False])
            self.assertTrue(np.all(np.diff(path, axis=1) >= 0))
            if not expected:
                self.assertBetween(path[0, -1], 0.49, 0.5)
        # The other one left the square.
        self.assertGreater(path[1, -1], self.script.SIDE)

    @on_pytorch_alone
    def test_distance_to_a_polygon_is_exact(self):
        square = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
        x = np.array([[0.0, 0.0], [0.5, 0.0], [3.0, 0.0], [4.0, 5.0], [0, -2]])
        expected = [-1.0, -0.5, 2.0, 5.0, 1.0]
        found = self.script.signed_distance(square, x)
        self.assertAllClose(found, expected)
        # The direction of the corners does not matter.
        found = self.script.signed_distance(square[::-1], x)
        self.assertAllClose(found, expected)
        star = self.script.make_star()
        self.assertAllClose(self.script.signed_distance(star, star), [0.0] * 10)
        self.assertLess(self.script.signed_distance(star, np.zeros((1, 2))), 0)
        # It is 1-Lipschitz, and has slope one.
        x = self.rng.uniform(-1.5, 1.5, (500, 2))
        y = x + self.normal(500, 2, scale=0.1)
        change = self.script.signed_distance(star, x)
        change = np.abs(change - self.script.signed_distance(star, y))
        stretch = change / np.linalg.norm(x - y, axis=1)
        self.assertBetween(stretch.max(), 0.99, 1 + 1e-9)

    @on_pytorch_alone
    def test_rays_start_outside(self):
        origins, directions = self.script.make_rays(20)
        star = self.script.make_star()
        found = self.script.signed_distance(star, origins)
        self.assertGreater(found.min(), 0.3)
        self.assertLess(np.abs(origins).max(), self.script.SIDE)
        self.assertAllClose(np.linalg.norm(directions, axis=1), np.ones(20))
