import json
import os
import pathlib
from unittest import mock

import numpy as np
from absl.testing import parameterized

from keras_lip.certificates import CertificationReport
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
