import argparse
import contextlib
import io
import json
import signal
import socket
import subprocess
import sys
from unittest import mock

import keras
import numpy as np
import pytest
from absl.testing import parameterized

from tests.lipschitz_test_case import LipschitzTestCase
from tests.load_script import load_example

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        keras.backend.backend() != "jax", reason="The example is of JAX."
    ),
]
SMOKE = ["--smoke", "--epochs", "3", "--output"]


def find_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class DistributedJAXTest(LipschitzTestCase):
    def start(self, *command):
        """Starts two processes of one cluster."""
        port = find_port()
        processes = [
            subprocess.Popen(
                [
                    *(sys.executable, *command, "--processes", "2"),
                    *("--process", str(index)),
                    *("--coordinator", f"127.0.0.1:{port}"),
                ],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            for index in range(2)
        ]
        for process in processes:
            self.addCleanup(process.kill)
        return processes

    def finish(self, processes):
        for process in processes:
            _, errors = process.communicate()
            self.assertEqual(process.returncode, 0, errors[-3000:])

    def read(self, folder):
        content = (folder / "distributed_jax.json").read_text()
        model = keras.models.load_model(folder / "epoch_0003.keras")
        return json.loads(content), model

    def test_killed_worker_is_started_again_and_nothing_is_lost(self):
        folder = self.temporary_path("whole").parent
        whole, killed = folder / "whole", folder / "killed"
        path = load_example("distributed_jax").__file__
        self.finish(self.start(path, *SMOKE, str(whole)))
        killed.mkdir()
        # A process died while it wrote this one.
        (killed / "partial_0_epoch_0009.keras").write_text("half")
        command = (
            *("-m", "tests.examples.dying_worker", "distributed_jax", "2"),
            *(str(killed), *SMOKE, str(killed)),
        )
        first, second = self.start(*command)
        second.communicate()
        self.assertEqual(second.returncode, -signal.SIGKILL)
        # It waits for gradients that never come.
        first.kill()
        first.communicate()
        self.assertTrue((killed / "epoch_0002.keras").exists())
        self.finish(self.start(*command))
        expected, model = self.read(whole)
        found, resumed = self.read(killed)
        self.assertEqual(expected.pop("resumed_after"), 0)
        self.assertEqual(found.pop("resumed_after"), 2)
        # The same bits: the hash is of all weights.
        self.assertEqual(found, expected)
        self.assertGreater(found["certified_accuracy"]["0.1"], 0.5)
        for one, two in zip(resumed.weights, model.weights, strict=True):
            np.testing.assert_array_equal(
                *map(keras.ops.convert_to_numpy, (one, two))
            )

    @parameterized.parameters("--epochs", "--batch-size", "--processes")
    def test_numbers_must_be_positive(self, option):
        example, errors = load_example("distributed_jax"), io.StringIO()
        with contextlib.redirect_stderr(errors):
            with self.assertRaises(SystemExit) as stop:
                example.main(["--smoke", option, "0"])
        self.assertEqual(stop.exception.code, 2)
        self.assertIn("must be a positive integer", errors.getvalue())

    def test_too_few_devices_are_refused(self):
        example = load_example("distributed_jax")
        folder = self.temporary_path("output")
        settings = argparse.Namespace(batch_size=6, processes=2)
        with mock.patch.object(
            keras.distribution, "list_devices", return_value=["cpu:0"]
        ) as devices:
            with self.assertRaisesRegex(
                SystemExit, "1 devices for 2 processes"
            ):
                example.train(folder, settings)
            devices.return_value = ["cpu:0"] * 4
            with self.assertRaisesRegex(SystemExit, "6 for 4 devices"):
                example.train(folder, settings)
            devices.side_effect = RuntimeError("Unknown backend cuda")
            with self.assertRaisesRegex(SystemExit, "no device: Unknown"):
                example.train(folder, settings)

    def test_run_with_other_settings_is_not_resumed(self):
        example = load_example("distributed_jax")
        folder = self.temporary_path("output")
        folder.mkdir()
        settings = argparse.Namespace(
            seed=0, units=4, batch_size=8, processes=1, process=0
        )
        example.check_settings(folder, settings, is_first=True)
        (folder / "epoch_0001.keras").touch()
        example.check_settings(folder, settings, is_first=False)
        settings.seed = 1
        with self.assertRaisesRegex(SystemExit, "has other settings"):
            example.train(folder, settings)

    def test_impossible_arguments_are_refused(self):
        example = load_example("distributed_jax")
        with self.assertRaisesRegex(SystemExit, "multiple of --processes"):
            example.main(["--smoke", "--processes", "3"])
        for process in ("2", "-1"):
            with self.assertRaisesRegex(SystemExit, "smaller than --processes"):
                example.main(
                    ["--smoke", "--processes", "2", "--process", process]
                )
        with mock.patch.object(keras.backend, "backend", lambda: "torch"):
            with self.assertRaisesRegex(SystemExit, "KERAS_BACKEND=jax"):
                example.main(["--smoke"])
