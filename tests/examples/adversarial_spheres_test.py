import json
from unittest import mock

import numpy as np
import pytest

import keras_lip as kl
from tests.lipschitz_test_case import LipschitzTestCase
from tests.load_script import load_example
from tests.marks import on_pytorch_alone

pytestmark = pytest.mark.slow


class AdversarialSpheresTest(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        self.script = load_example("adversarial_spheres")

    def make_quadratic(self, stretches, w=1.0, b=-1.0):
        """Returns a quadratic network with the given singular values."""
        size = len(stretches)
        model = self.script.make_quadratic(size, size)
        rotation, _ = np.linalg.qr(self.normal(size, size))
        kernel = rotation * stretches
        model.set_weights([kernel, np.full((1, 1), w), np.full(1, b)])
        return model

    @on_pytorch_alone
    def test_smoke_run_has_the_truths_of_the_spheres(self):
        output = self.temporary_path("spheres")
        with mock.patch("builtins.print"):
            self.script.main(["--smoke", "--output", str(output)])
        self.assertTrue((output / "adversarial_spheres.png").exists())
        path = output / "adversarial_spheres.json"
        results = json.loads(path.read_text())
        found = {
            (row["surface"], row["network"]): row for row in results["rows"]
        }
        self.assertLen(found, 6)
        for (surface, network), row in found.items():
            # No attack succeeds inside of a certified radius.
            self.assertGreaterEqual(row["nearest_attack"], 1.0)
            self.assertGreater(row["attacked"], 10)
            self.assertGreater(row["radius"], 0.02)
            if network != "MaxMin":
                share, exact = row["errors"] / row["tests"], row["exact_error"]
                deviation = np.sqrt(exact * (1 - exact) / row["tests"])
                self.assertLessEqual(abs(share - exact), 5 * deviation + 1e-4)
                self.assertEqual(
                    row["wrong_somewhere"], row["in_range"] < 1.0, surface
                )
            else:
                self.assertLess(row["errors"] / row["tests"], 0.05)
        sphere = found["spheres", "orthogonal quadratic"]
        self.assertEqual((sphere["errors"], sphere["exact_error"]), (0, 0.0))
        self.assertAllClose(sphere["nearest_attack"], 1.0, atol=1e-3)
        # A sphere cannot separate ellipsoids.
        ellipsoid = found["ellipsoids", "orthogonal quadratic"]
        self.assertTrue(ellipsoid["wrong_somewhere"])
        self.assertEqual(
            [(each["weight"], each["accuracy"]) for each in results["signs"]],
            [(1.0, 0.0), (1.0, 0.0), (-1.0, 1.0)],
        )

    @on_pytorch_alone
    def test_probabilities_of_quadratic_forms_are_exact(self):
        probability = self.script.positive_probability
        self.assertEqual(probability([1.0, 0.0]), 1.0)
        self.assertEqual(probability([-1.0, 0.0]), 0.0)
        self.assertAllClose(probability([1.0, -1.0]), 0.5, atol=1e-12)
        # Sums of two squares have exponential distributions.
        for c in (0.1, 1.0, 30.0):
            found = probability([1.0, 1.0, -c, -c])
            self.assertAllClose(found, 1 / (1 + c), atol=1e-12)
            # P(X + Y > c Z) is one minus that X + Y is smaller.
            found = probability([1.0] * 4 + [-c] * 2)
            expected = 1 - (c / (1 + c)) ** 2
            self.assertAllClose(found, expected, atol=1e-12)
        weights = self.rng.normal(size=500) - 0.05
        draws = self.rng.normal(size=(20_000, 500)) ** 2 @ weights
        found = probability(weights)
        self.assertAllClose(found, np.mean(draws > 0), atol=0.02)
        self.assertAllClose(found, 1 - probability(-weights), atol=1e-12)

    @on_pytorch_alone
    def test_alphas_say_where_a_network_is_wrong(self):
        axes, least = np.ones(8), self.script.RADIUS**-2
        inside = np.linspace(least * 1.001, 0.999, 8)
        for alphas, wrong in (
            (inside, False),
            (np.append(inside[1:], 1.05), True),
            (np.append(inside[1:], least * 0.95), True),
        ):
            # Any factor of `w` and `b` gives the same boundary.
            model = self.make_quadratic(np.sqrt(3 * alphas), w=2.0, b=-6.0)
            found = self.script.examine(model, axes)
            self.assertAllClose(found["alphas"], np.sort(alphas), atol=1e-5)
            self.assertEqual(found["wrong_somewhere"], wrong)
            self.assertAllClose(found["in_range"], 1 - wrong / 8)
            self.assertEqual(found["exact_error"] > 0, wrong)
        # On ellipsoids, the matrix acts on the sphere that they come from.
        model = self.make_quadratic(np.ones(3))
        found = self.script.examine(model, np.array([1.0, 0.8, 0.5]))
        self.assertAllClose(found["alphas"], [0.25, 0.64, 1.0], atol=1e-5)

    @on_pytorch_alone
    def test_root_network_has_the_same_classes_and_a_bound(self):
        for w, b in ((2.0, -3.0), (-2.0, 3.0)):
            model = self.make_quadratic(np.array([0.5, 1.0, 2.0]), w, b)
            root = self.script.to_root_network(model)
            x = self.normal(200, 3)
            signs = np.sign(model.predict(x, verbose=0))
            self.assertAllClose(np.sign(root.predict(x, verbose=0)), signs)
            self.assertAllClose(kl.bounds.lipschitz_bound(root), 2.0, atol=1e-5)
        with self.assertRaisesRegex(ValueError, "opposite signs"):
            self.script.to_root_network(self.make_quadratic(np.ones(2), b=1.0))

    @on_pytorch_alone
    def test_samples_lie_on_the_surfaces(self):
        for surface in ("spheres", "ellipsoids"):
            axes = self.script.make_axes(surface, 20)
            self.assertEqual(axes.max() > 1, surface == "ellipsoids")
            x, y = self.script.draw_samples(self.rng, 500, axes)
            sizes = np.linalg.norm(x / axes, axis=1)
            expected = np.where(y == 1, self.script.RADIUS, 1.0)
            self.assertAllClose(sizes, expected, atol=1e-6)
            self.assertBetween(np.mean(y), 0.4, 0.6)
        samples = self.script.NewSamples(np.ones(3), 10, 5, seed=0)
        first = samples[0][0]
        self.assertAllClose(samples[0][0], first)
        samples.on_epoch_end()
        self.assertGreater(np.abs(samples[0][0] - first).max(), 0.1)
