import json
import math
from unittest import mock

import numpy as np
import pytest

from tests.lipschitz_test_case import LipschitzTestCase
from tests.load_script import load_example
from tests.marks import on_pytorch_alone

pytestmark = pytest.mark.slow


class RecurrentTest(LipschitzTestCase):
    @on_pytorch_alone
    def test_smoke_run_attains_its_bounds_and_exceeds_none(self):
        script = load_example("recurrent")
        output = self.temporary_path("recurrent")
        with mock.patch("builtins.print"):
            script.main(["--smoke", "--output", str(output)])
        self.assertEqual(
            sorted(path.name for path in output.iterdir()),
            ["recurrent.json", "recurrent.png"],
        )
        results = json.loads((output / "recurrent.json").read_text())
        for row in results["growth"]:
            length = row["length"]
            self.assertAlmostEqual(
                row["bound_last"], math.sqrt(length), delta=1e-4
            )
            self.assertAlmostEqual(
                row["bound_all"],
                1 / (2 * math.sin(math.pi / (4 * length + 2))),
                delta=1e-4,
            )
            for name in ("last", "last_narrow", "all"):
                self.assertLess(
                    row[f"found_{name}"], row[f"bound_{name}"] + 1e-4
                )
            # With as many inputs as units it is attained everywhere.
            self.assertAlmostEqual(
                row["found_last"], math.sqrt(length), delta=1e-4
            )
        self.assertLess(results["adding"]["found"], results["adding"]["bound"])
        digits = results["digits"]
        self.assertAlmostEqual(digits["bound"], math.sqrt(8), delta=1e-4)
        self.assertLess(digits["found"], digits["bound"] + 1e-4)
        for certified, attacked in zip(
            digits["certified_of_attacked"], digits["attacked"], strict=True
        ):
            self.assertLessEqual(certified, attacked)

    def test_sums_are_of_one_number_in_each_half(self):
        script = load_example("recurrent")
        x, y = script.make_sums(self.rng, 200, 7)
        self.assertEqual((x.shape, y.shape), ((200, 7, 2), (200, 1)))
        values, markers = x[..., 0], x[..., 1]
        self.assertTrue(np.all(markers[:, :3].sum(axis=1) == 1))
        self.assertTrue(np.all(markers[:, 3:].sum(axis=1) == 1))
        self.assertAllClose(np.sum(values * markers, axis=1), y[:, 0], 1e-6)
        # The variance of the sum of two uniform numbers.
        _, y = script.make_sums(self.rng, 100000, 2)
        self.assertAllClose(np.mean((y - 1) ** 2), 1 / 6, 2e-3)
