import importlib.util
import json
from unittest import mock

import keras
import numpy as np
import pytest

import keras_lip as kl
from tests.lipschitz_test_case import LipschitzTestCase
from tests.load_script import load_benchmark
from tests.marks import on_pytorch_alone

SHAPE = (8, 8, 1)


def result(name, block="rko", **values):
    """Returns a contestant's result, of which only some numbers are told."""
    found = {
        "name": name,
        "block": block,
        "obstacle": None,
        "epochs": [3.0, 1.0, 2.0],
        "first_step": 1.0,
        "memory": 300.0,
        "memory_before": 200.0,
        "clean": 97.0,
        "certified_accuracies": {"0.1": 90.0, "0.5": 80.0, "1.58": 40.0},
        "bound": 1.0,
    }
    return {**found, **values}


class RaceTest(LipschitzTestCase):
    @pytest.mark.slow
    @on_pytorch_alone
    def test_smoke_race_has_a_row_for_everybody(self):
        race = load_benchmark("race")
        output = self.temporary_path("race")
        output.mkdir()
        path = output / "race.md"
        backend = keras.backend.backend()
        with mock.patch("builtins.print"):
            arguments = ["--smoke", "--backends", backend]
            race.main([*arguments, "--output", str(path)])
        report = json.loads(path.with_suffix(".json").read_text())
        names = [row["name"] for row in report["results"]]
        expected = [f"keras_lip, {backend}", "deel-torchlip", "orthogonium"]
        self.assertEqual(names, expected)
        own, *peers = report["results"]
        self.assertIsNone(own["obstacle"])
        self.assertLess(own["copy_differs_by"], 1e-4)
        self.assertBetween(own["bound"], 0.1, 1.001)
        for peer in peers:
            package = load_benchmark("race_peers").PACKAGES[peer["name"]]
            if importlib.util.find_spec(package) is None:
                self.assertIn("is not installed", peer["obstacle"])
            else:
                self.assertIsNone(peer["obstacle"])
                self.assertLess(peer["copy_differs_by"], 1e-4)
        table = path.read_text()
        self.assertEqual(table.count("\n| rko |"), 3)
        with mock.patch("builtins.print") as printed:
            print(race.format_table(report["results"], report["results"]))
        text = printed.call_args.args[0]
        self.assertIn("| before |", text)
        seconds = f"{own['seconds']:.2f}"
        self.assertIn(f"| {seconds} | {seconds} |", text)

    def test_missing_peers_and_blocks_are_named(self):
        race = load_benchmark("race")
        find = importlib.util.find_spec

        def hide(name):
            return None if name in ("deel", "jax") else find(name)

        with mock.patch("importlib.util.find_spec", hide):
            obstacles = {
                one.name: one.find_obstacle()
                for one in race.list_contestants("rko", ["jax"])
            }
            self.assertEqual(
                obstacles["keras_lip, jax"], "jax is not installed"
            )
            self.assertEqual(
                obstacles["deel-torchlip"], "deel-torchlip is not installed"
            )
        one = race.Contestant("deel-torchlip", "torch", "sll")
        self.assertEqual(one.find_obstacle(), "deel-torchlip has no such block")
        rows = [result("orthogonium", obstacle="orthogonium is not installed")]
        race.summarize(rows)
        table = race.format_table(rows)
        self.assertIn("| rko | orthogonium | orthogonium is not in", table)

    def test_contestant_that_fails_is_named_and_leaves_the_race(self):
        race = load_benchmark("race")
        one = race.Contestant("keras_lip", keras.backend.backend(), "rko")
        with mock.patch.object(race, "WORKER", "no_such_file.py"):
            with mock.patch.object(race.subprocess, "Popen") as start:
                start.return_value.stdout.readline.return_value = ""
                runner = race.Runner(one, {})
                runner.ask("start")
        self.assertIn("failed at 'start'", runner.result["obstacle"])
        runner.ask("epoch 0")
        start.return_value.kill.assert_called_once()

    def test_table_has_medians_and_ratios_to_a_peer(self):
        race = load_benchmark("race")
        certified = {"0.1": 91.0, "0.5": 81.0, "1.58": 41.5}
        rows = [
            result("keras_lip, jax", certified_accuracies=certified),
            result("deel-torchlip", epochs=[4.0], memory=250.0),
            result("orthogonium", "sll"),
        ]
        race.summarize(rows[:2])
        self.assertEqual(rows[0]["seconds"], 2.0)
        self.assertEqual([row["ratio"] for row in rows[:2]], [0.5, 1.0])
        self.assertEqual(rows[0]["memory"], 100.0)
        race.summarize(rows[2:])
        lines = race.format_table(rows).splitlines()
        self.assertLen(lines, 5)
        self.assertEqual(
            lines[2],
            "| rko | keras_lip, jax | 2.00 | 0.50 | 1.0 | 100 | 97.00 | 41.50 "
            "| 1.000000 |",
        )


class RacePeersTest(LipschitzTestCase):
    def make_network(self, block, pairs):
        """Makes what a peer would, of layers of PyTorch."""
        torch = pytest.importorskip("torch")
        race_peers = load_benchmark("race_peers")
        torch.manual_seed(0)

        class Residual(torch.nn.Module):
            def __init__(self, channels, filters):
                super().__init__()
                shape = (filters, channels, 2, 2)
                self.kernel = torch.nn.Parameter(torch.randn(shape))
                self.bias = torch.nn.Parameter(torch.randn(1, filters, 1, 1))

            def forward(self, images):
                convolve = torch.nn.functional.conv2d
                hidden = convolve(images, self.kernel, padding=1) + self.bias
                back = torch.nn.functional.conv_transpose2d
                moved = back(torch.relu(hidden), self.kernel, padding=1)
                return images - 2 * moved

        class Pairs(torch.nn.Module):
            def forward(self, x):
                if pairs == "halves":
                    one, other = x.split(x.shape[1] // 2, 1)
                    both = torch.maximum(one, other), torch.minimum(one, other)
                    return torch.cat(both, 1)
                both = x.unflatten(1, (-1, 2)).sort(dim=2).values
                return both.flatten(1, 2)

        def convolve(channels, filters):
            yield torch.nn.Conv2d(
                channels, filters, 2, padding="same", padding_mode="circular"
            )

        def add(channels, filters):
            fit = torch.nn.ZeroPad2d
            missing = filters - channels
            if missing > 0:
                yield fit((0, 0, 0, 0, 0, missing))
            yield Residual(max(channels, filters), filters)
            if missing < 0:
                yield fit((0, 0, 0, 0, 0, missing))

        parts = (add if block == "sll" else convolve, torch.nn.Linear, Pairs)
        name = "_list_orthogonium" if pairs == "halves" else "_list_deel"
        with mock.patch.object(race_peers, name, lambda block: parts):
            library = "orthogonium" if pairs == "halves" else "deel-torchlip"
            network = race_peers.make_network(library, block, SHAPE, 8, 6)
        return race_peers, library, network

    def test_copies_compute_what_the_networks_do(self):
        import torch

        x = self.normal(3, *SHAPE)
        for block, pairs in (
            ("rko", "neighbours"),
            ("bcop", "halves"),
            ("sll", "halves"),
        ):
            race_peers, library, network = self.make_network(block, pairs)
            with torch.no_grad():
                expected = network(torch.tensor(np.moveaxis(x, -1, 1))).numpy()
            weights = race_peers.read_weights(network)
            copy = race_peers.make_copy(library, block, SHAPE, weights)
            scale = np.abs(expected).max()
            self.assertAllClose(copy(x) / scale, expected / scale, 1e-5, 1e-5)
            self.assertEqual(
                copy.count_params(),
                sum(p.numel() for p in network.parameters())
                + sum(k.size for k, _ in weights[:2]) * (block == "sll"),
            )

    def test_residual_blocks_are_proven_as_such(self):
        race_peers, library, network = self.make_network("sll", "halves")
        weights = []
        for kernel, bias in race_peers.read_weights(network):
            # Far below what could expand.
            size = np.sqrt(4 * np.sum(kernel**2))
            weights.append((kernel / size, bias))
        copy = race_peers.make_copy(library, "sll", SHAPE, weights)
        bound = kl.bounds.lipschitz_bound(copy)
        self.assertLess(bound, 1.0)
        self.assertGreater(bound, 0.0)
