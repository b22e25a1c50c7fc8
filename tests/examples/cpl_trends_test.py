import json
from unittest import mock

import numpy as np
import pytest

from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy
from tests.load_script import EXAMPLES
from tests.load_script import load_example
from tests.marks import on_pytorch_alone

pytestmark = [pytest.mark.slow, on_pytorch_alone]

DATA = EXAMPLES.with_name("docs") / "data" / "cpl_trends.json"


class CplTrendsTest(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        self.script = load_example("cpl_trends")

    def check_truths(self, results):
        """Checks what holds for every run."""
        parts = [results["sizes"]]
        parts += [results[name]["rows"] for name in ("steps", "lengths")]
        for row in sum(parts, []):
            self.assertLessEqual(row["certified"], row["pgd"])
            self.assertLessEqual(row["pgd"], row["clean"])
            self.assertLessEqual(row["estimate"], row["bound"] + 1e-4)
        # Steps that follow from the norms are proven to be short enough.
        for row in parts[0] + parts[2]:
            self.assertBetween(row["bound"], 0.999, 1.0001)
        # A fixed step of one is too long.
        steps = dict(zip(results["steps"]["values"], parts[1], strict=True))
        self.assertGreater(steps[1.0]["bound"], 1.0001)

    def test_short_run_is_sound_and_writes_everything(self):
        output = self.temporary_path("cpl_trends")
        # Most values of the tables are then the baseline, which is run once.
        small = {"depth": 1, "linear_depth": 1, "hidden_units": 32}
        with mock.patch.dict(self.script.BASELINE, small):
            self.script.main(["--smoke", "--output", str(output)])
        results = json.loads((output / "cpl_trends.json").read_text())
        self.check_truths(results)
        self.assertEqual(
            (output / "cpl_trends.png").read_bytes()[:4], b"\x89PNG"
        )

    def test_published_results_are_sound_and_make_the_picture(self):
        results = json.loads(DATA.read_text())
        self.check_truths(results)
        steps = results["steps"]
        bounds = [row["bound"] for row in steps["rows"]]
        self.assertEqual(bounds, sorted(bounds, reverse=True))
        path = self.temporary_path("cpl_trends.png")
        self.script.draw(results, path)
        self.assertEqual(path.read_bytes()[:4], b"\x89PNG")

    def test_rate_is_a_triangle(self):
        rate = self.script.Triangle(2.0, 10)
        found = [float(to_numpy(rate(step))) for step in range(10)]
        rising = [0.5, 1.0, 1.5, 2.0]
        falling = 2.0 * np.arange(5, -1, -1) / 6
        self.assertAllClose(found, [*rising, *falling], 1e-6)
        copy = self.script.Triangle.from_config(rate.get_config())
        self.assertAllClose(copy(3), rate(3))
