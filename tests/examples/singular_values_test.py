import json

import numpy as np
import pytest

from tests.lipschitz_test_case import LipschitzTestCase
from tests.load_script import EXAMPLES
from tests.load_script import load_example
from tests.marks import on_pytorch_alone

pytestmark = [pytest.mark.slow, on_pytorch_alone]

DATA = EXAMPLES.with_name("docs") / "data" / "singular_values.json"


class SingularValuesTest(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        self.script = load_example("singular_values")

    def check_truths(self, results):
        """Checks what holds for every run."""
        rows = {row["name"]: row for row in results["rows"]}
        self.assertEqual(list(rows), list(self.script.NETWORKS))
        for name, row in rows.items():
            # From the input to the output of a 1-Lipschitz network, the norm of
            # a gradient grows to one. Estimates of norms may be too small.
            norms = np.array([*row["gradients"], 1.0])
            self.assertLen(norms, len(self.script.PLACES))
            self.assertTrue(np.all(np.diff(norms) > -0.1))
            self.assertLessEqual(row["certified"], row["accuracy"])
            self.assertLessEqual(row["jacobian"][1], row["bound"] + 2e-4)
            self.assertEqual(len(row["before"]), len(row["after"]))
            self.assertEqual(len(row["before"]) == 0, name == "cpl")
            for values in (row["before"], row["after"]):
                self.assertLess(max(values, default=0), 1.1)
                if name.startswith("bcop"):
                    # Rounded to four digits in the file.
                    np.testing.assert_allclose(values, 1.0, atol=1e-3)
        inputs = {name: row["gradients"][0] for name, row in rows.items()}
        for name in ("ossn", "rko", "svcm"):
            self.assertLess(min(rows[name]["after"]), 0.9)
            self.assertLess(inputs[name], inputs["bcop"])
        # ReLU cuts gradients off, orthogonal kernels or not.
        for name in ("ossn", "bcop"):
            self.assertLess(inputs[f"{name}, ReLU"], inputs[name])

        # BCOP and MaxMin lose nothing between the first convolution, which may
        # have more outputs than inputs, and the last layer.
        self.assertLess(np.ptp(rows["bcop"]["gradients"][1:]), 1e-3)

    def test_short_run_finds_orthogonal_kernels_and_others(self):
        output = self.temporary_path("singular_values")
        self.script.main(["--smoke", "--output", str(output)])
        results = json.loads((output / "singular_values.json").read_text())
        self.check_truths(results)
        self.assertEqual(
            (output / "singular_values.png").read_bytes()[:4], b"\x89PNG"
        )

    def test_published_results_hold_and_make_the_picture(self):
        results = json.loads(DATA.read_text())
        self.check_truths(results)
        rows = {row["name"]: row for row in results["rows"]}
        # What training does according to the paper.
        for name, share in (("ossn", 0.3), ("rko", 0.3)):
            small = np.mean(np.array(rows[name]["after"]) < share)
            before = np.mean(np.array(rows[name]["before"]) < share)
            self.assertGreater(small, 2 * before)
        self.assertGreater(
            np.mean(rows["svcm"]["after"]), np.mean(rows["svcm"]["before"])
        )
        path = self.temporary_path("singular_values.png")
        self.script.draw(results, path)
        self.assertEqual(path.read_bytes()[:4], b"\x89PNG")

    def test_missing_file_is_named(self):
        folder = self.temporary_path("none")
        with self.assertRaisesRegex(SystemExit, "no file .*mnist.npz"):
            self.script.main(["--dataset", "mnist", "--data-dir", str(folder)])
