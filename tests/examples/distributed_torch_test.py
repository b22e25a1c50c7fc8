import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
from unittest import mock

import keras
import numpy as np
import pytest
from absl.testing import parameterized

from tests.lipschitz_test_case import LipschitzTestCase
from tests.load_script import load_example
from tests.marks import on_pytorch_alone

pytestmark = [pytest.mark.slow, on_pytorch_alone]
SMOKE = ["--smoke", "--epochs", "3", "--output"]


class DistributedTorchTest(LipschitzTestCase):
    def torchrun(self, *command):
        run = subprocess.run(
            [
                *(sys.executable, "-m", "torch.distributed.run"),
                *("--standalone", "--nproc-per-node", "2"),
                *("--max-restarts", "1"),
                *command,
            ],
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(run.returncode, 0, run.stderr[-3000:])

    def read(self, folder):
        content = (folder / "distributed_torch.json").read_text()
        model = keras.models.load_model(folder / "epoch_0003.keras")
        return json.loads(content), model

    def test_killed_worker_is_started_again_and_nothing_is_lost(self):
        folder = self.temporary_path("whole").parent
        whole, killed, alone = (
            folder / name for name in ("whole", "killed", "alone")
        )
        example = load_example("distributed_torch")
        self.torchrun(example.__file__, *SMOKE, str(whole))
        killed.mkdir()
        # A process died while it wrote this one.
        (killed / "partial_epoch_0009.keras").write_text("half")
        self.torchrun(
            *("-m", "tests.examples.dying_worker", "distributed_torch", "2"),
            *(str(killed), *SMOKE, str(killed)),
        )
        self.assertTrue((killed / "killed").exists())
        expected, model = self.read(whole)
        found, resumed = self.read(killed)
        self.assertEqual(expected.pop("resumed_after"), 0)
        self.assertEqual(found.pop("resumed_after"), 2)
        # The same bits: the hash is of all weights.
        self.assertEqual(found, expected)
        self.assertGreater(found["certified_accuracy"]["0.1"], 0.5)

        # One process with the whole batch trains the same network.
        with mock.patch("builtins.print"):
            example.main([*SMOKE, str(alone)])
        _, single = self.read(alone)
        for one, two in zip(single.weights, model.weights, strict=True):
            # Adam divides by the root of a mean square, which may be small.
            self.assertAllClose(one, two, 1e-3, 1e-3)
        for one, two in zip(resumed.weights, model.weights, strict=True):
            np.testing.assert_array_equal(
                *map(keras.ops.convert_to_numpy, (one, two))
            )

    @parameterized.parameters("--epochs", "--batch-size")
    def test_numbers_must_be_positive(self, option):
        example, errors = load_example("distributed_torch"), io.StringIO()
        with contextlib.redirect_stderr(errors):
            with self.assertRaises(SystemExit) as stop:
                example.main(["--smoke", option, "0"])
        self.assertEqual(stop.exception.code, 2)
        self.assertIn("must be a positive integer", errors.getvalue())

    @parameterized.parameters(
        (False, {}, "gloo", None),
        (False, {"LOCAL_RANK": "5"}, "gloo", None),
        (True, {}, "nccl", 0),
        (True, {"LOCAL_RANK": "1"}, "nccl", 1),
        (True, {"LOCAL_RANK": "1", "KERAS_TORCH_DEVICE": "cpu"}, "gloo", None),
    )
    def test_each_process_has_a_gpu_of_its_own(
        self, available, variables, engine, device
    ):
        example = load_example("distributed_torch")
        with self.pretend_gpus(available, variables) as set_device:
            self.assertEqual(example.choose_device(), engine)
        expected = [] if device is None else [mock.call(device)]
        self.assertEqual(set_device.mock_calls, expected)

    def test_processes_are_connected_by_the_engine_of_the_device(self):
        example = load_example("distributed_torch")
        variables = {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}
        folder = str(self.temporary_path("output"))
        with (
            self.pretend_gpus(True, variables),
            mock.patch("torch.distributed.init_process_group") as connect,
            mock.patch.object(example, "train", side_effect=SystemExit),
        ):
            with self.assertRaises(SystemExit):
                example.main(["--smoke", "--output", folder])
        connect.assert_called_once_with("nccl")

    def test_more_processes_than_gpus_are_refused(self):
        example = load_example("distributed_torch")
        with self.pretend_gpus(True, {"LOCAL_RANK": "2"}) as set_device:
            with self.assertRaisesRegex(SystemExit, "LOCAL_RANK=2 with 2 GPUs"):
                example.choose_device()
        set_device.assert_not_called()

    @contextlib.contextmanager
    def pretend_gpus(self, available, variables):
        with (
            mock.patch.dict(os.environ, variables),
            mock.patch("torch.cuda.is_available", return_value=available),
            mock.patch("torch.cuda.device_count", return_value=2),
            mock.patch("torch.cuda.set_device") as set_device,
        ):
            yield set_device

    def test_run_with_other_settings_is_not_resumed(self):
        example = load_example("distributed_torch")
        folder = self.temporary_path("output")
        folder.mkdir()
        settings = argparse.Namespace(seed=0, units=4, batch_size=8)
        example.check_settings(folder, settings, is_first=True)
        (folder / "epoch_0001.keras").touch()
        example.check_settings(folder, settings, is_first=False)
        settings.seed = 1
        with self.assertRaisesRegex(SystemExit, "has other settings"):
            example.train(folder, settings, 0, 1)

    def test_impossible_arguments_are_refused(self):
        example = load_example("distributed_torch")
        with mock.patch.dict(os.environ, {"WORLD_SIZE": "3", "RANK": "0"}):
            with self.assertRaisesRegex(SystemExit, "multiple of the number"):
                example.main(["--smoke"])
        with mock.patch.object(keras.backend, "backend", lambda: "jax"):
            with self.assertRaisesRegex(SystemExit, "KERAS_BACKEND=torch"):
                example.main(["--smoke"])
