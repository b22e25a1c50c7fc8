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

    def test_impossible_arguments_are_refused(self):
        example = load_example("distributed_torch")
        with mock.patch.dict(os.environ, {"WORLD_SIZE": "3", "RANK": "0"}):
            with self.assertRaisesRegex(SystemExit, "multiple of the number"):
                example.main(["--smoke"])
        with mock.patch.object(keras.backend, "backend", lambda: "jax"):
            with self.assertRaisesRegex(SystemExit, "KERAS_BACKEND=torch"):
                example.main(["--smoke"])
