import json
from unittest import mock

import keras
import numpy as np
import pytest

from tests.lipschitz_test_case import LipschitzTestCase
from tests.load_script import load_example
from tests.marks import on_pytorch_alone

pytestmark = pytest.mark.slow


class WGANTest(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        self.script = load_example("wgan")

    def run_smoke(self, output, *arguments):
        with mock.patch("builtins.print"):
            self.script.main(["--smoke", "--output", str(output), *arguments])
        self.assertEqual(
            sorted(path.name for path in output.iterdir()),
            ["wgan.json", "wgan.png"],
        )
        return json.loads((output / "wgan.json").read_text())

    def check_measured(self, row):
        """No 1-Lipschitz function exceeds the exact distance of samples.

        In the table one sample is larger, and the estimates are far below.
        """
        self.assertLess(row["estimate"], row["exact"])
        self.assertLessEqual(row["lower_bound"], row["exact"])

    def test_smoke_run_tells_the_truth(self):
        results = self.run_smoke(self.temporary_path("wgan"))
        self.assertNotIn("critics", results)
        first, last = results["snapshots"]
        self.assertEqual((first["epoch"], last["epoch"]), (0, 2))
        for row in (first, last):
            self.check_measured(row)
            self.assertAlmostEqual(row["lipschitz_bound"], 1.0, delta=1e-4)
        self.assertLen(results["gaps"], 2)
        # The critic learns before the generator does.
        self.assertGreater(last["estimate"], first["estimate"])
        self.assertEqual(np.shape(results["pictures"]), (2, 10, 8, 8, 1))

    @on_pytorch_alone
    def test_table_of_critics(self):
        output = self.temporary_path("wgan")
        output.mkdir()
        (output / "wgan.json").write_text('{"earlier": 1}')
        results = self.run_smoke(output, "--critics")
        self.assertEqual(results["earlier"], 1)
        self.assertLen(results["critics"], 6)
        for row in results["critics"]:
            self.check_measured(row)
            self.assertAlmostEqual(
                row["gap"], row["estimate"] * row["lipschitz_bound"], delta=1e-3
            )

    def make_players(self, critic_steps, rate):
        """A generator `w z` and a critic `v x` of numbers, and SGD."""
        generator = keras.Sequential(
            [keras.Input((1,)), keras.layers.Dense(1, use_bias=False)]
        )
        critic = keras.Sequential(
            [keras.Input((1,)), keras.layers.Dense(1, use_bias=False)]
        )
        generator.set_weights([np.array([[0.5]])])
        critic.set_weights([np.array([[2.0]])])
        wgan = self.script.WGAN(generator, critic)
        slow = critic_steps if critic_steps > 1 else None
        optimizer = self.script.TwoOptimizers(
            keras.optimizers.SGD(rate, gradient_accumulation_steps=slow),
            keras.optimizers.SGD(2 * rate),
            num_first=1,
        )
        optimizer.build(wgan.trainable_variables)
        wgan.compile(optimizer)
        return wgan

    def weights_of(self, wgan):
        players = (wgan.generator, wgan.critic)
        return tuple(float(each.get_weights()[0][0, 0]) for each in players)

    def test_players_have_opposite_aims(self):
        wgan = self.make_players(critic_steps=1, rate=0.1)
        x, z = np.array([[1.0], [4.0]]), np.array([[3.0], [1.0]])
        # The gap is `v (2.5 - 2 w)`.
        loss = wgan.train_on_batch((x, z), return_dict=True)["loss"]
        self.assertAllClose(loss, -2 * (2.5 - 2 * 0.5), 1e-6)
        w, v = self.weights_of(wgan)
        self.assertAllClose(w, 0.5 + 0.1 * 2 * 2.0, 1e-6)
        self.assertAllClose(v, 2.0 + 0.2 * (2.5 - 2 * 0.5), 1e-6)

    def test_the_generator_waits_for_the_critic(self):
        wgan = self.make_players(critic_steps=2, rate=0.1)
        x, z = np.array([[1.0], [4.0]]), np.array([[3.0], [1.0]])
        wgan.train_on_batch((x, z))
        first = self.weights_of(wgan)
        self.assertAllClose(first, (0.5, 2.3), 1e-6)
        wgan.train_on_batch((x, z))
        # The mean of its two gradients.
        w, v = self.weights_of(wgan)
        self.assertAllClose(w, 0.5 + 0.1 * 2 * (2.0 + 2.3) / 2, 1e-6)
        self.assertAllClose(v, 2.3 + 0.2 * (2.5 - 2 * 0.5), 1e-6)

    def test_samples_are_paired_at_the_least_cost(self):
        x = self.normal(30, 2, 2, 1)
        shift = 5.0 * np.eye(4)[0].reshape(2, 2, 1)
        moved = self.rng.permutation(x + shift)
        self.assertAllClose(self.script.pair_exactly(x, moved), 5.0, 1e-5)

    def test_the_fixed_generator_has_the_moments_of_the_images(self):
        images = 0.5 + 0.02 * self.normal(50, 2, 2, 1)
        drawn = self.script.make_gaussian(images)(self.rng, 20000)
        flat, found = images.reshape(50, 4), drawn.reshape(-1, 4)
        self.assertAllClose(found.mean(axis=0), flat.mean(axis=0), 1e-3)
        self.assertAllClose(
            np.cov(found.T), np.cov(flat.T, bias=True), 2e-5, 0.05
        )
