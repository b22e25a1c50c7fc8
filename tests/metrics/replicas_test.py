import json
import os
import subprocess
import sys

import keras
import pytest

from tests.lipschitz_test_case import LipschitzTestCase

pytestmark = pytest.mark.slow


class ReplicasTest(LipschitzTestCase):
    """`MirroredStrategy`, `DataParallel` and `DistributedDataParallel`."""

    def test_evaluation_on_two_replicas_is_what_is_certified(self):
        run = subprocess.run(
            [
                sys.executable,
                "-m",
                "tests.metrics.replicas",
                keras.backend.backend(),
            ],
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(run.returncode, 0, run.stderr[-3000:])
        comparisons = json.loads(run.stdout.splitlines()[-1])
        self.assertLen(comparisons, 2)
        for comparison in comparisons:
            self.assertLen(comparison, 2)
            for evaluated, certified in comparison.values():
                # A metric adds float32 numbers up.
                self.assertAllClose(evaluated, certified, rtol=1e-5, atol=1e-7)
        # The second fit has moved what is certified: nothing is stale.
        first, second = comparisons
        self.assertNotEqual(
            first["mean_certified_radius"][1],
            second["mean_certified_radius"][1],
        )
