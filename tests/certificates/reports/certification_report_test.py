import json
import os
import sys
from unittest import mock

import numpy as np

from keras_lip import certificates
from tests.lipschitz_test_case import LipschitzTestCase


def make_report(**changes):
    arguments = {
        "model_name": "a <b> model",
        "lipschitz_bound": 1.25,
        "method": "by hand",
        "epsilons": (0.1, 0.3),
        "radius": np.array([0.05, 0.2, 0.4, 0.9]),
        "prediction": np.array([0, 1, 1, 0]),
        "label": np.array([0, 1, 1, 1]),
        "attacks": {"PGD": {0.1: 0.75, 0.3: 0.5}},
    }
    return certificates.CertificationReport(**{**arguments, **changes})


class CertificationReportTest(LipschitzTestCase):
    def test_accuracies(self):
        report = make_report()
        self.assertEqual(report.accuracy, 0.75)
        # A radius bounds open balls: at the radius itself nothing is proven.
        for epsilon, expected in (
            (0.0, 0.75), (0.05, 0.5), (0.1, 0.5), (0.2, 0.25), (0.4, 0.0)
        ):  # fmt: skip
            self.assertEqual(report.certified_accuracy(epsilon), expected)
        with self.assertRaisesRegex(ValueError, "`epsilon` must be"):
            report.certified_accuracy(-0.1)

    def test_abstention_needs_margins(self):
        report = make_report(abstain_below=0.5)
        with self.assertRaisesRegex(ValueError, "needs `worst_margin`"):
            _ = report.accuracy

    def test_curve_falls_from_the_accuracy_to_zero(self):
        radii, accuracies = make_report().curve(50)
        self.assertEqual((radii[0], radii[-1]), (0.0, 0.4))
        self.assertEqual((accuracies[0], accuracies[-1]), (0.75, 0.0))
        self.assertTrue((np.diff(accuracies) <= 0).all())

    def test_json_holds_everything(self):
        path = self.temporary_path("report.json")
        self.assertEqual(make_report().save(path), path)
        content = json.loads(path.read_text())
        self.assertEqual(content["lipschitz_bound"], 1.25)
        self.assertEqual(content["radius"], [0.05, 0.2, 0.4, 0.9])
        self.assertEqual(
            content["certified_accuracy"][1], {"epsilon": 0.3, "accuracy": 0.25}
        )
        self.assertEqual(content["attacks"][0]["attack"], "PGD")

    def test_json_of_an_infinite_bound_is_valid(self):
        text = make_report(lipschitz_bound=float("inf")).to_json()

        def refuse(name):
            raise ValueError(name)

        content = json.loads(text, parse_constant=refuse)
        self.assertEqual(content["lipschitz_bound"], "inf")

    def test_page_shows_the_table_and_the_curve(self):
        path = self.temporary_path("report.html")
        make_report().save(path)
        page = path.read_text()
        for part in ("50.00 %", "25.00 %", "PGD", "data:image/png", "1.25"):
            self.assertIn(part, page)
        self.assertIn("a &lt;b&gt; model", page)

    def test_picture_is_a_png(self):
        path = self.temporary_path("curve.png")
        make_report().save(path)
        self.assertEqual(path.read_bytes()[:8], b"\x89PNG\r\n\x1a\n")

    def test_text_lists_the_accuracies(self):
        text = str(make_report())
        self.assertIn("Certified accuracy at 0.3: 25.00%", text)

    def test_existing_file_is_kept_unless_told_otherwise(self):
        path = self.temporary_path("report.json")
        path.write_text("mine")
        with self.assertRaisesRegex(ValueError, "something at .* already"):
            make_report().save(path)
        self.assertEqual(path.read_text(), "mine")
        make_report().save(path, overwrite=True)
        self.assertIn("radius", path.read_text())
        directory = path.with_name("folder.json")
        directory.mkdir()
        with self.assertRaisesRegex(ValueError, "something at .* already"):
            make_report().save(directory, overwrite=True)

    def test_failure_leaves_the_old_file_and_no_other(self):
        path = self.temporary_path("report.json")
        path.write_text("mine")
        with mock.patch.object(os, "replace", side_effect=OSError("disk")):
            with self.assertRaisesRegex(ValueError, "cannot be written.*disk"):
                make_report().save(path, overwrite=True)
        broken = make_report(radius=None)
        with self.assertRaises(TypeError):
            broken.save(path, overwrite=True)
        self.assertEqual(path.read_text(), "mine")
        self.assertEqual(os.listdir(path.parent), ["report.json"])

    def test_impossible_paths_are_refused(self):
        missing = self.temporary_path("nowhere") / "report.json"
        with self.assertRaisesRegex(ValueError, "cannot be written to"):
            make_report().save(missing)
        with self.assertRaisesRegex(
            ValueError, "must end in .npz, .json, .html"
        ):
            make_report().save(self.temporary_path("report.pdf"))

    def test_missing_packages_are_named(self):
        path = self.temporary_path("report.html")
        for module in ("jinja2", "matplotlib.figure"):
            with mock.patch.dict(sys.modules, {module: None}):
                with self.assertRaisesRegex(
                    ImportError, r"keras-lip\[report\]"
                ):
                    make_report().save(path)
        self.assertEqual(os.listdir(path.parent), [])
