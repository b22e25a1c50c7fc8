import builtins
import json
from unittest import mock

import numpy as np
import pytest

from tests.lipschitz_test_case import LipschitzTestCase
from tests.load_script import load_example
from tests.marks import on_pytorch_alone

pytestmark = pytest.mark.slow


class WassersteinTest(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        self.script = load_example("wasserstein")

    @on_pytorch_alone
    def test_smoke_run_finds_the_distances(self):
        output = self.temporary_path("wasserstein")
        with mock.patch("builtins.print"):
            self.script.main(["--smoke", "--output", str(output)])
        self.assertTrue((output / "wasserstein.png").exists())
        results = json.loads((output / "wasserstein.json").read_text())
        found = {
            (row["pair"], row["activation"]): row for row in results["rows"]
        }
        self.assertLen(found, 8)
        for row in found.values():
            self.assertLessEqual(row["lower_bound"], row["distance"])
            self.assertLess(row["lower_bound"], row["estimate"])
            self.assertBetween(row["lipschitz_bound"], 1.0, 1.0001)
            error = 4 * row["standard_error"]
            self.assertLess(row["estimate"], row["distance"] + error)
        # Only `MaxMin` reaches the distance if the best critic bends.
        for name, least in (("0 and ±1", 0.98), ("circles", 0.9)):
            self.assertGreater(found[name, "MaxMin"]["estimate"], least)
            self.assertLess(found[name, "ReLU"]["estimate"], 0.75)
        weak = results["weak"]
        self.assertAllClose(weak["critic"]["distance"], 3.0, atol=0.02)
        self.assertAllClose(weak["critic"]["threshold_error"], 0.3)
        self.assertAllClose(weak["predicted_error"], 0.3)

    @on_pytorch_alone
    def test_distances_of_the_pairs_are_true(self):
        for pair in self.script.make_pairs():
            x1, x2 = pair.sample(self.rng, 4000)
            self.assertEqual(x1.shape, (4000, pair.dimension))
            for x in (x1, x2):
                # Twice the norm of centered points exceeds no diameter.
                farthest = 2 * np.linalg.norm(x - x.mean(axis=0), axis=1).max()
                self.assertLess(farthest, pair.diameter * 1.05)
            if pair.name.startswith("Gaussians"):
                critic = np.ones(pair.dimension) / pair.dimension**0.5
                values, atol = (x1 @ critic, x2 @ critic), 0.06
                # A translation moves one distribution to the other.
                self.assertAllClose(x1.std(0), x2.std(0), atol=0.06)
            else:
                values = [np.linalg.norm(x, axis=1) for x in (x1, x2)]
                atol = 1e-9
            gap = values[0].mean() - values[1].mean()
            self.assertAllClose(gap, pair.distance, atol=atol)

    @on_pytorch_alone
    def test_alternating_sets_have_the_errors_of_the_theorem(self):
        for n in (2, 3, 5, 40):
            q, p = self.script.make_alternating_sets(n)
            self.assertAllClose(np.sort(q - p, axis=0), np.full((n, 1), 3.0))
            self.assertAllClose(q.mean(), -p.mean())
            self.assertEmpty(np.intersect1d(q, p))
            error = self.script.best_threshold_error(q[:, 0], p[:, 0])
            self.assertAllClose(error, 0.5 - 1 / n)
        error = self.script.best_threshold_error(np.ones(3), np.zeros(3))
        self.assertEqual(error, 0.0)
        # If all scores are equal, half of the points are wrong.
        error = self.script.best_threshold_error(np.zeros(3), np.zeros(3))
        self.assertEqual(error, 0.5)

    @on_pytorch_alone
    def test_missing_transport_names_the_extra(self):
        importing = builtins.__import__

        def refuse(name, *arguments, **others):
            if name == "ot":
                raise ImportError(name)
            return importing(name, *arguments, **others)

        with mock.patch("builtins.__import__", refuse):
            with self.assertRaisesRegex(SystemExit, r"\[transport\]"):
                self.script.transport_distance(np.zeros((2, 1)), np.zeros(2))
