import json
import pathlib
from unittest import mock

import pytest

from tests.lipschitz_test_case import LipschitzTestCase
from tests.load_script import load_experiment

pytestmark = pytest.mark.slow


def make_result(clean, seconds, estimate=1.5, seed=0):
    return {
        "seed": seed,
        "lipschitz_bound": 12.34567,
        "sha256": "0123456789abcdef",
        "clean": clean,
        "certified": {"0.1412": 0.5, "0.2824": 0.4, "0.4235": 0.3, "1": 0.0},
        "attacked": {"0.1412": 0.55},
        "attack_steps": 40,
        "attacked_samples": 500,
        "parameters": 1234,
        "seconds": seconds,
        "cpu_seconds": 2 * seconds - 60,
        "margin_bound": 1.6,
        "margin_estimate": estimate,
        "hardware": "cpu",
        "backend": "torch",
    }


class SpeedrunTest(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        self.script = load_experiment("speedrun")
        self.folder = self.temporary_path("speedrun")

    def run_script(self, *arguments, status=0):
        """Runs the script, with a run in place of a training of an hour."""
        commands = []

        def train(command):
            commands.append(command)
            folder = pathlib.Path(command[command.index("--output") + 1])
            seed = int(command[command.index("--seed") + 1])
            if status == 0:
                folder.mkdir(parents=True)
                seconds = 600.0 * (seed + 1)
                result = make_result(0.6 + 0.01 * seed, seconds, seed=seed)
                (folder / "result.json").write_text(json.dumps(result))
            return mock.Mock(returncode=status)

        with (
            mock.patch.object(self.script.subprocess, "run", train),
            mock.patch("builtins.print"),
        ):
            self.script.main([*arguments, "--output", str(self.folder)])
        return commands

    def test_every_seed_is_run_once_and_counted(self):
        commands = self.run_script("--minutes", "15", "--data-dir", "data")
        self.assertLen(commands, 3)
        for seed, command in enumerate(commands):
            line = " ".join(command)
            self.assertIn("--recipe speedrun-15 --resume", line)
            self.assertIn(f"--seed {seed} ", line)
            self.assertIn("--data-dir data", line)
        page = (self.folder / "speedrun.md").read_text()
        row = next(each for each in page.splitlines() if each[:5] == "| 15 ")
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        self.assertEqual(
            cells,
            [
                *("15", "29.5 (over)", "3", "1,234", "61.00 ± 1.00"),
                *("50.00 ± 0.00", "40.00 ± 0.00", "30.00 ± 0.00"),
                *("6.67 %", "cpu, torch"),
            ],
        )
        found = json.loads((self.folder / "speedrun.json").read_text())
        self.assertEqual(self.script.format_page(found), page)
        picture = (self.folder / "speedrun.png").read_bytes()
        self.assertStartsWith(picture[1:4].decode(), "PNG")
        self.assertEmpty(self.run_script("--minutes", "15"))
        self.assertLen(self.run_script("--minutes", "5", "--seeds", "4"), 1)
        self.assertIn(
            "| 15 | 1 | 19.5 | 20.0 | 61.00 | 50.00 | 40.00 | 30.00 | "
            "55.00 (500 images, 40 steps) | 12.35 | `0123456789ab` |",
            page,
        )
        (command,) = self.run_script(
            *("--minutes", "10", "--device", "gpu", "--seeds", "0")
        )
        self.assertIn("speedrun-gpu-10", command)
        races = self.script.read_results(self.folder)
        self.assertEqual(list(races), ["5", "15", "gpu-10"])
        (result,) = races["gpu-10"]
        self.assertEqual(self.script.count_minutes("gpu-10", result), 10.0)

    def test_run_without_estimates_has_no_gap(self):
        row = self.script.format_row("60", [make_result(0.6, 60.0, None)])
        self.assertIn("| 60 | 0.5 | 1 | 1,234 | 60.00 |", row)
        self.assertIn("| – |", row)

    def test_attacks_are_shown_with_their_settings(self):
        result = make_result(0.6, 60.0)
        del result["attack_steps"], result["attacked_samples"]
        row = self.script.format_seed("60", result)
        self.assertIn("| 55.00 (settings not recorded) |", row)
        row = self.script.format_seed("60", {**result, "attacked": {}})
        self.assertIn("| 30.00 | – | 12.35 |", row)

    def test_what_fails_ends_the_race(self):
        with self.assertRaisesRegex(SystemExit, "Run again to resume"):
            self.run_script("--minutes", "15", status=1)
        with self.assertRaisesRegex(SystemExit, "recipe must be one of"):
            self.run_script("--minutes", "7")
