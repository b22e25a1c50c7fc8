import contextlib
import io
import os
import subprocess
import sys
from unittest import mock

import keras
import pytest

from tests.lipschitz_test_case import LipschitzTestCase
from tests.load_script import BENCHMARKS
from tests.load_script import load_benchmark

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        keras.backend.backend() != "jax", reason="The benchmark is of JAX."
    ),
]


class ShardedKernelsTest(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        # The script sets variables, which are too late for this process.
        with mock.patch.dict(os.environ):
            self.script = load_benchmark("sharded_kernels")

    def run_main(self, *options, devices=2):
        out, err = io.StringIO(), io.StringIO()
        device = mock.Mock(platform="cpu")
        with (
            mock.patch("jax.devices", return_value=[device] * devices),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            self.script.main(list(options))
        return out.getvalue()

    def test_short_run_shards_kernels_and_changes_nothing(self):
        run = subprocess.run(
            [sys.executable, BENCHMARKS / "sharded_kernels.py", "--smoke"],
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(run.returncode, 0, run.stderr[-3000:])
        rows = [
            [cell.strip() for cell in line.split("|")[1:-1]]
            for line in run.stdout.splitlines()[2:]
        ]
        self.assertEqual([row[0] for row in rows], list(self.script.CASES)[:2])
        for _, difference, sharded, collectives in rows:
            self.assertLess(float(difference), 1e-5)
            self.assertEqual(sharded, "2 of 2")
            self.assertRegex(collectives, "all-")

    def test_error_is_in_the_table_and_ends_the_short_run(self):
        error = ValueError("not sharded")
        with mock.patch.object(self.script, "compare", side_effect=error):
            out = self.run_main("UnitNormDense", "SLLDense")
            self.assertLen(out.splitlines(), 4)
            self.assertIn("| SLLDense | ValueError: not sharded |", out)
            with self.assertRaisesRegex(ValueError, "not sharded"):
                self.run_main("--smoke")

    def test_one_device_is_not_enough(self):
        with self.assertRaisesRegex(SystemExit, "over 2 devices.*Received: 1"):
            self.run_main("--smoke", devices=1)

    def test_wrong_arguments_are_refused(self):
        with self.assertRaisesRegex(SystemExit, "Unknown layers: .'Tree'"):
            self.run_main("Tree")
        with self.assertRaises(SystemExit) as stop:
            self.run_main("--steps", "0")
        self.assertEqual(stop.exception.code, 2)
