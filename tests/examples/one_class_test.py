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


class OneClassTest(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        self.script = load_example("one_class")

    def make_half_space(self, slope=2.0):
        """Returns the network `slope * (x[0] - 0.5)` of four entries."""
        model = keras.Sequential(
            [keras.Input((2, 2)), keras.layers.Flatten(), keras.layers.Dense(1)]
        )
        kernel = np.array([[slope], [0.0], [0.0], [0.0]])
        model.set_weights([kernel, np.array([-slope / 2])])
        return model

    @on_pytorch_alone
    def test_smoke_run_orders_the_curves(self):
        output = self.temporary_path("one_class")
        with mock.patch("builtins.print"):
            self.script.main(["--smoke", "--output", str(output)])
        self.assertTrue((output / "one_class.png").exists())
        results = json.loads((output / "one_class.json").read_text())
        (row,) = results["rows"]
        certified, attacked = map(np.array, (row["certified"], row["attacked"]))
        self.assertBetween(row["lipschitz_bound"], 1.0, 1.0001)
        # At radius zero nothing is lost but ties and roundings.
        self.assertAllClose(certified[0], attacked[0], atol=1e-3)
        self.assertTrue(np.all(certified <= attacked))
        self.assertTrue(np.all(np.diff(certified) <= 0))
        self.assertTrue(np.all(np.diff(row["neighbour"]) <= 0))
        self.assertGreater(attacked[0], 0.8)
        self.assertGreater(certified[results["radii"].index(0.1)], 0.5)
        self.assertLess(certified[-1], certified[0] - 0.1)

    @on_pytorch_alone
    def test_auroc_counts_pairs(self):
        normal, anomalous = np.array([1.0, 2.0, 5.0]), np.array([0.0, 2.0])
        # Five pairs: 1 > 0, 2 > 0, 5 > 0, 5 > 2, and half of the tie of 2.
        self.assertAllClose(
            self.script.measure_auroc(normal, anomalous), 4.5 / 6
        )
        # The certified number is rounded down to four digits.
        scores = np.concatenate([normal, anomalous])
        is_normal = np.array([True] * 3 + [False] * 2)
        found = self.script.certify_auroc(
            scores, np.zeros(5), is_normal, 2.0, 0.0
        )
        self.assertEqual(found, 0.6666)

    def test_attack_reaches_the_certificate_of_a_half_space(self):
        model = self.make_half_space()
        x = np.full((4, 2, 2), 0.5, "float32")
        x[:, 0, 0] = [0.5, 0.6, 0.4, 0.95]
        is_normal = np.array([True, True, False, False])
        found = self.script.attack(model, x, is_normal, 0.1)
        # The last one ends at the largest value of a pixel.
        self.assertAllClose(found, [-0.2, 0.0, 0.0, 1.0], atol=1e-5)

    def test_proposals_approach_the_level(self):
        model = self.make_half_space(1.0)
        normal = np.full((3, 2, 2), 0.5, "float32")
        found = self.script.propose_negatives(
            model, self.rng, normal, 50, margin=0.2, steps=20
        )
        self.assertEqual(found.shape, (50, 2, 2))
        self.assertAllClose(found[:, 0, 0], np.full(50, 0.3), atol=0.01)
        self.assertTrue(np.all((found >= 0) & (found <= 1)))
        self.assertGreater(found[:, 1, 1].std(), 0.1)

    @on_pytorch_alone
    def test_nearest_neighbours_are_exact(self):
        normal = np.array([[[0.0, 0.0]], [[3.0, 4.0]]])
        x = np.array([[[0.0, 1.0]], [[3.0, 4.0]], [[0.0, 4.0]]])
        self.assertAllClose(
            self.script.neighbour_scores(normal, x), [-1.0, 0.0, -3.0]
        )

    @on_pytorch_alone
    def test_mnist_is_read_from_a_folder(self):
        path = self.temporary_path("mnist.npz")
        images = np.full((3, 28, 28), 255, "uint8")
        labels = np.arange(3)
        np.savez(
            path,
            **{f"x_{part}": images for part in ("train", "test")},
            **{f"y_{part}": labels for part in ("train", "test")},
        )
        (x, y), _ = self.script.load_data("mnist", path.parent)
        self.assertAllClose(x, np.ones((3, 28, 28)))
        self.assertAllClose(y, labels)

    @on_pytorch_alone
    def test_network_has_a_bound_of_one(self):
        model = self.script.make_network((4, 4), 8, 2)
        bound = kl.bounds.lipschitz_bound(model)
        self.assertBetween(bound, 1.0, 1 + 1e-5)
