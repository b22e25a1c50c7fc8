import json
import os
import pathlib
import re
from unittest import mock

import keras
import numpy as np
from absl.testing import parameterized

from keras_lip.certificates import AuditReport
from keras_lip.certificates import CertificationReport
from keras_lip.certificates import certify
from keras_lip.certificates.reports.report_files import ARRAYS
from tests.certificates.reports.certification_report_test import make_report
from tests.lipschitz_test_case import LipschitzTestCase

EDITION_1 = pathlib.Path("tests/fixtures/edition_1").resolve()


def make_full_report(**changes):
    """A report of numbers that only all bits tell apart."""
    third = np.array([1 / 3, np.nextafter(1 / 3, 1), 0.1 + 0.2, np.inf])
    return make_report(
        radius=third,
        worst_margin=np.stack([third, third / 2, third / 3], axis=1),
        logits=np.stack([third, -third], axis=1),
        margin_error=third * 1e-16,
        largest_pair_bound=np.sqrt(2.0),
        shard=(1, 3),
        batch_sizes=(3, 1),
        abstain_below=0.2,
        semantics="float64",
        norm="linf",
        **changes,
    )


class ReportFilesTest(LipschitzTestCase):
    def load(self, report, name):
        return CertificationReport.load(report.save(self.temporary_path(name)))

    def assertSameBits(self, found, expected, names):
        for name in names:
            ours, theirs = getattr(found, name), getattr(expected, name)
            self.assertEqual(ours.shape, theirs.shape)
            self.assertEqual(ours.tobytes(), theirs.tobytes(), name)

    @parameterized.parameters("report.npz", "report.json")
    def test_loaded_report_is_the_report(self, name):
        report = make_full_report()
        found = self.load(report, name)
        self.assertEqual(found.to_json(), report.to_json())
        self.assertEqual(found.shard, (1, 3))
        self.assertEqual(found.batch_sizes, (3, 1))
        self.assertEqual(found.attacks, report.attacks)
        self.assertEqual(found.coverage, report.coverage)
        self.assertEqual(found.epsilons, report.epsilons)
        kept = ARRAYS if name.endswith("npz") else ARRAYS[:4]
        self.assertSameBits(found, report, kept)
        for missing in ARRAYS[len(kept) :]:
            self.assertIsNone(getattr(found, missing))

    @parameterized.parameters("report.npz", "report.json")
    def test_arrays_that_are_unknown_stay_unknown(self, name):
        found = self.load(make_report(lipschitz_bound=np.inf), name)
        self.assertIsNone(found.worst_margin)
        self.assertIsNone(found.shard)
        self.assertEqual(found.lipschitz_bound, np.inf)
        self.assertEqual(found.largest_pair_bound, np.inf)

    def test_report_of_the_first_edition_loads(self):
        found = CertificationReport.load(EDITION_1 / "report.json")
        content = json.loads((EDITION_1 / "report.json").read_text())
        self.assertNotIn("format", content)
        self.assertEqual(found.radius.tolist(), content["radius"])
        self.assertEqual(found.accuracy, content["accuracy"])
        self.assertEqual(found.audit.sha256, content["audit"]["sha256"])
        self.assertEqual(
            json.loads(found.audit.to_json())["layers"],
            content["audit"]["layers"],
        )
        self.assertEqual(
            [found.certified_accuracy(epsilon) for epsilon in found.epsilons],
            [each["accuracy"] for each in content["certified_accuracy"]],
        )

    def test_older_report_that_abstains_is_refused(self):
        """Its margins are missing, so all samples would seem answered."""
        path = make_full_report().save(self.temporary_path("report.json"))
        content = json.loads(path.read_text())
        del content["format"], content["worst_margin"]
        path.write_text(json.dumps(content))
        with self.assertRaisesRegex(ValueError, "which samples are answered"):
            CertificationReport.load(path)

    def test_newer_format_is_refused(self):
        path = make_report().save(self.temporary_path("report.json"))
        content = json.loads(path.read_text())
        path.write_text(json.dumps({**content, "format": 3}))
        with self.assertRaisesRegex(ValueError, "Update the library.*format 3"):
            CertificationReport.load(path)

    def test_damaged_files_are_refused(self):
        path = make_full_report().save(self.temporary_path("report.npz"))
        whole = path.read_bytes()
        for content in (b"", whole[:-40], b"not a zip"):
            path.write_bytes(content)
            with self.assertRaisesRegex(ValueError, "not a complete certif"):
                CertificationReport.load(path)
        path = make_report().save(self.temporary_path("report.json"))
        content = json.loads(path.read_text())
        for change in (
            {"radius": [0.1]},
            {"label": None},
            {"audit": {}},
            {"num_samples": None},
        ):
            path.write_text(json.dumps({**content, **change}))
            with self.assertRaisesRegex(ValueError, "not a complete certif"):
                CertificationReport.load(path)

    @parameterized.parameters(
        ("certified_accuracy", lambda old: old[1:], "`worst_margin` of shape"),
        ("certified_accuracy", lambda old: old[::-1], "grows with the radius"),
        ("worst_margin", lambda old: [row[:2] for row in old], "(4, 2)"),
        ("worst_margin", lambda old: [row[0] for row in old], "(4,)"),
        ("worst_margin", lambda old: np.multiply(old, -1).tolist(), "negative"),
        ("radius", lambda old: [*old[:3], float("nan")], "NaN or negative"),
        ("radius", lambda old: [-0.1, *old[1:]], "NaN or negative"),
        ("radius", lambda old: [[each] for each in old], "(4, 1)"),
        ("radius", lambda old: ["far", *old[1:]], "could not convert"),
        ("radius", lambda old: [9.0] * 4, "follows from its arrays"),
        ("label", lambda old: [0.5, *old[1:]], "dtype float64"),
        ("label", lambda old: [-1, *old[1:]], "NaN or negative"),
        ("label", lambda old: [1 - old[0], *old[1:]], "`accuracy` is 0.5"),
        ("prediction", lambda old: ["a", *old[1:]], "dtype <U"),
        ("accuracy", lambda old: 1.0, "`accuracy` is 1.0, but 0.5 follows"),
        ("coverage", lambda old: 0.5, "`coverage` is 0.5, but 1.0"),
        ("lipschitz_bound", lambda old: "nan", "`lipschitz_bound` is nan"),
        ("lipschitz_bound", lambda old: -1.0, "`lipschitz_bound` is -1.0"),
        ("lipschitz_bound", lambda old: 0.5, "that of the audit 1.25"),
        ("largest_pair_bound", lambda old: "nan", "largest_pair_bound` is nan"),
        ("abstain_below", lambda old: -0.1, "`abstain_below` must be"),
        ("norm", lambda old: "l3", "l3"),
        ("norm", lambda old: "linf", "that of the audit 'l2'"),
        ("semantics", lambda old: "float16", "Unknown semantics"),
        ("shard", lambda old: [3, 3], "`shard` must be a pair"),
        ("batch_sizes", lambda old: [3, 2], "(3, 2) for 4 samples"),
        ("batch_sizes", lambda old: [5, -1], "must be a positive integer"),
        ("batch_size", lambda old: 0, "must be a positive integer"),
        ("num_total", lambda old: 1.5, "must be a positive integer"),
        ("num_samples", lambda old: 5, "`num_samples` is 5, but 4"),
        ("attacks", lambda old: [{**old[0], "accuracy": 2}], "accuracy of PGD"),
    )
    def test_files_that_contradict_themselves_are_refused(
        self, name, change, message
    ):
        """For each, a report that loads without the change."""
        margins = np.array([[4, 2, 0], [3, 2, 1], [9, 6, 5], [2, 2, 0.1]])
        report = make_report(
            worst_margin=margins,
            audit=AuditReport("name", "l2", 1.25, (), (4,), "0", None),
            shard=(1, 3),
            batch_sizes=(3, 1),
            batch_size=3,
            num_total=12,
            prediction=np.array([0, 1, 1, 0]),
            label=np.array([0, 1, 0, 1]),
        )
        path = report.save(self.temporary_path("report.json"))
        CertificationReport.load(path)
        content = json.loads(path.read_text())
        path.write_text(json.dumps({**content, name: change(content[name])}))
        with self.assertRaisesRegex(ValueError, re.escape(message)):
            CertificationReport.load(path)

    @parameterized.parameters(
        ("logits", np.zeros(4), "expected (4, 1)"),
        ("logits", np.zeros((3, 2)), "expected (4, 2)"),
        ("prediction", np.array([0, 1, 2, 1]), "more than 2 classes"),
        ("margin_error", np.full(4, np.nan), "NaN or negative"),
        ("radius", np.zeros(4, "int64"), "dtype int64"),
        ("secret", np.zeros(4), "unknown array `secret`"),
    )
    def test_arrays_that_do_not_fit_are_refused(self, name, array, message):
        path = make_full_report().save(self.temporary_path("report.npz"))
        CertificationReport.load(path)
        with np.load(path) as file:
            arrays = {**file, name: array}
        np.savez(path, **arrays)
        with self.assertRaisesRegex(ValueError, re.escape(message)):
            CertificationReport.load(path)

    def test_report_of_logits_that_overflow_loads(self):
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        model.set_weights([np.full((2, 3), 1e38), np.zeros(3)])
        x = np.array([[1.0, 1.0], [1e200, -1e300], [0.0, 0.0]])
        report = certify(model, x, [0, 1, 2])
        found = self.load(report, "report.npz")
        self.assertEqual(found.to_json(), report.to_json())

    def test_json_has_no_literals_that_are_no_json(self):
        def refuse(name):
            raise ValueError(name)

        report = make_full_report(attacks={"PGD": {0.1: float("nan")}})
        content = json.loads(report.to_json(), parse_constant=refuse)
        self.assertEqual(content["radius"][3], "inf")
        self.assertEqual(content["worst_margin"][3], ["inf"] * 3)
        # Older versions wrote the literals.
        path = make_full_report().save(self.temporary_path("report.json"))
        path.write_text(path.read_text().replace('"inf"', "Infinity"))
        self.assertEqual(CertificationReport.load(path).radius[3], np.inf)

    def test_missing_files_and_other_suffixes_are_refused(self):
        with self.assertRaisesRegex(ValueError, "FileNotFoundError"):
            CertificationReport.load(self.temporary_path("report.npz"))
        with self.assertRaisesRegex(ValueError, "must end in .npz or .json"):
            CertificationReport.load("report.html")

    def test_failure_leaves_no_half_of_a_file(self):
        path = self.temporary_path("report.npz")
        with mock.patch.object(os, "replace", side_effect=OSError("disk")):
            with self.assertRaisesRegex(ValueError, "cannot be written.*disk"):
                make_full_report().save(path)
        self.assertEqual(os.listdir(path.parent), [])

    def test_text_names_the_shard(self):
        self.assertIn("Shard: (1, 3)", str(make_full_report()))
