import json
import pathlib
from unittest import mock

import numpy as np
import pytest

from tests.lipschitz_test_case import LipschitzTestCase
from tests.load_script import EXAMPLES
from tests.load_script import load_example
from tests.marks import on_pytorch_alone

pytestmark = [pytest.mark.slow, on_pytorch_alone]

DATA = pathlib.Path(EXAMPLES).with_name("docs") / "data" / "ladder.json"


class LadderTest(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        self.script = load_example("ladder")

    def check_orders(self, results):
        """Checks what holds for every run."""
        for row in results["ladder"]:
            # Certificates hold under attack, and both fall with the radius.
            for curve in ("certified", "attacked"):
                values = [row["accuracy"], *row[curve]]
                self.assertEqual(values, sorted(values, reverse=True))
            for certified, attacked in zip(
                row["certified"], row["attacked"], strict=True
            ):
                self.assertLessEqual(certified, attacked)
            self.assertLessEqual(row["jacobian"][1], row["bound"] + 1e-5)
        rows = {row["rung"]: row for row in results["ladder"]}
        self.assertEqual(list(rows), list(self.script.LABELS))
        self.assertBetween(rows["spectral"]["bound"], 0.999, 1.1)
        for rung in ("orthogonal", "group_sort"):
            self.assertBetween(rows[rung]["bound"], 1.0, 1.00001)
            self.assertAllClose(rows[rung]["kernels"], [1, 1], 1e-4)
        # Only GroupSort keeps all singular values and the whole gradient.
        self.assertEqual(rows["group_sort"]["near_one"], 1.0)
        self.assertAlmostEqual(rows["group_sort"]["gradient"], 1.0, delta=1e-3)
        for rung in ("spectral", "orthogonal"):
            self.assertLess(rows[rung]["near_one"], 0.6)
            self.assertLess(rows[rung]["gradient"], 0.99)

        part = results["divergence"]
        for rung in ("plain", "group_sort"):
            for bound, estimate in zip(
                part[rung]["bound"], part[rung]["estimate"], strict=True
            ):
                self.assertLessEqual(estimate, bound * (1 + 1e-5))
        self.assertGreater(
            part["plain"]["estimate"][-1], 2 * part["plain"]["estimate"][0]
        )
        self.assertBetween(max(part["group_sort"]["bound"]), 1.0, 1.00001)

        part = results["linf"]
        self.assertBetween(part["linf"]["bound"], 0.0, 1.000001)
        self.assertGreater(part["plain"]["bound"], 1.5)
        for rung in ("plain", "linf"):
            for certified, attacked in zip(
                part[rung]["certified"], part[rung]["attacked"], strict=True
            ):
                self.assertLessEqual(certified, attacked)

    def test_short_run_keeps_the_orders_and_writes_everything(self):
        output = self.temporary_path("ladder")
        with mock.patch("builtins.print"):
            self.script.main(["--smoke", "--output", str(output)])
        results = json.loads((output / "ladder.json").read_text())
        self.check_orders(results)
        self.assertEqual(results["samples"]["sizes"], [50])
        self.assertEqual((output / "ladder.png").read_bytes()[:4], b"\x89PNG")

    def test_published_results_keep_the_orders_and_make_the_picture(self):
        results = json.loads(DATA.read_text())
        self.check_orders(results)
        rows = {row["rung"]: row for row in results["ladder"]}
        middle = results["radii"].index(0.3)
        certified = [rows[rung]["certified"][middle] for rung in rows]
        self.assertEqual(
            max(certified), rows["group_sort"]["certified"][middle]
        )
        path = self.temporary_path("ladder.png")
        self.script.draw(results, path)
        self.assertEqual(path.read_bytes()[:4], b"\x89PNG")

    def test_probabilities_are_normalized_without_overflow(self):
        logits = np.array([[1000.0, 1000.0], [0.0, np.log(3.0)]])
        self.assertAllClose(
            self.script.logsumexp(logits), [[1000 + np.log(2)], [np.log(4)]]
        )

    def test_floats_are_rounded_and_integers_are_not(self):
        found = self.script.round_floats({"a": [1.23456789, 1234567, "b"]})
        self.assertEqual(found, {"a": [1.23457, 1234567, "b"]})

    def test_missing_file_is_named(self):
        folder = self.temporary_path("none")
        with self.assertRaisesRegex(SystemExit, "no file .*mnist.npz"):
            self.script.main(["--dataset", "mnist", "--data-dir", str(folder)])
