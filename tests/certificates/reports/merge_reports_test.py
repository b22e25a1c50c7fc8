import copy
import dataclasses
import itertools

import keras
import numpy as np
from absl.testing import parameterized

from keras_lip import certificates
from keras_lip import layers
from keras_lip.certificates import CertificationReport
from keras_lip.certificates import certify
from keras_lip.certificates.reports.report_files import ARRAYS
from keras_lip.models.exporting.certificate_source import find_bounds
from keras_lip.program import freeze
from tests.lipschitz_test_case import LipschitzTestCase

SAMPLES, BATCH_SIZE = 23, 4


def make_model(seed=0):
    rng = np.random.default_rng(seed)
    model = keras.Sequential(
        [keras.Input((4,)), layers.MaxMin(), layers.UnitNormDense(3)]
    )
    model.set_weights([rng.normal(size=w.shape) for w in model.weights])
    return model


class Batches(keras.utils.PyDataset):
    """Batches that end at given samples, which records what was read of it."""

    def __init__(self, x, y, ends=(5, 10, 15, 20)):
        super().__init__()
        self.edges = [0, *ends, len(x)]
        self.x, self.y, self.read = x, y, []

    def __len__(self):
        return len(self.edges) - 1

    def __getitem__(self, index):
        self.read.append(index)
        part = slice(*self.edges[index : index + 2])
        return self.x[part], self.y[part]


class MergeReportsTest(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        self.model = make_model()
        self.x = self.normal(SAMPLES, 4)
        self.y = np.arange(SAMPLES) % 3

    def certify(self, shard=None, model=None, **kwargs):
        arguments = {"batch_size": BATCH_SIZE, **kwargs}
        return certify(
            model or self.model, self.x, self.y, shard=shard, **arguments
        )

    def shards(self, count, **kwargs):
        return [self.certify((i, count), **kwargs) for i in range(count)]

    def assertSameReport(self, found, expected):
        self.assertEqual(found.to_json(), expected.to_json())
        for name in ARRAYS:
            ours, theirs = getattr(found, name), getattr(expected, name)
            self.assertEqual(ours.dtype, theirs.dtype)
            self.assertEqual(ours.tobytes(), theirs.tobytes(), name)

    @parameterized.parameters(1, 2, 3, 6)
    def test_merged_report_is_the_report_of_the_whole_bit_for_bit(self, count):
        whole = self.certify()
        shards = self.shards(count)
        self.assertEqual(shards[-1].shard, (count - 1, count))
        for order in (shards, shards[::-1], iter(shards)):
            self.assertSameReport(CertificationReport.merge(order), whole)

    def test_shards_of_files_merge_to_the_same(self):
        folder = self.temporary_path("shard").parent
        paths = [
            shard.save(folder / f"shard-{shard.shard[0]}.npz")
            for shard in self.shards(3, abstain_below=0.1)
        ]
        merged = CertificationReport.merge(map(CertificationReport.load, paths))
        self.assertSameReport(merged, self.certify(abstain_below=0.1))

    def test_batches_of_a_data_set_are_read_by_one_shard_alone(self):
        whole = certify(self.model, Batches(self.x, self.y))
        shards, read = [], []
        for index in range(4):
            batches = Batches(self.x, self.y)
            shards.append(certify(self.model, batches, shard=(index, 4)))
            read.append(batches.read)
        # The first batch tells the size of all.
        self.assertEqual(read, [[0, 0, 4], [0, 1], [0, 2], [0, 3]])
        self.assertEqual(shards[0].batch_sizes, (5, 3))
        self.assertSameReport(CertificationReport.merge(shards), whole)

    def test_iterators_are_divided_as_data_sets(self):
        batches = Batches(self.x, self.y)
        whole = certify(self.model, batches)
        shards = [
            certify(self.model, map(batches.__getitem__, range(5)), shard=shard)
            for shard in ((0, 2), (1, 2))
        ]
        self.assertSameReport(CertificationReport.merge(shards), whole)

    def test_data_that_were_divided_before_are_marked_by_hand(self):
        batches = Batches(self.x, self.y)
        whole = certify(self.model, batches)
        shards = []
        for index in range(2):
            part = itertools.islice(
                map(batches.__getitem__, range(5)), index, None, 2
            )
            shards.append(certify(self.model, part))
            with self.assertRaisesRegex(ValueError, "counts as the whole"):
                CertificationReport.merge([*shards, shards[-1]])
            shards[-1].shard = (index, 2)
        self.assertSameReport(CertificationReport.merge(shards), whole)

    def test_shards_of_other_batch_sizes_are_refused(self):
        # Of 23 samples, the first 14 and the last 2.
        shards = [
            self.certify(batch_size=size, shard=(index, 2))
            for index, size in enumerate((14, 21))
        ]
        self.assertEqual([len(each.radius) for each in shards], [14, 2])
        with self.assertRaisesRegex(ValueError, "the same `batch_size`"):
            CertificationReport.merge(shards)
        loaded = [
            CertificationReport.load(
                shard.save(self.temporary_path(f"shard-{index}.npz"))
            )
            for index, shard in enumerate(shards)
        ]
        with self.assertRaisesRegex(ValueError, "the same `batch_size`"):
            CertificationReport.merge(loaded)

    @parameterized.parameters((2, 3, 12), (2, 3, 5))
    def test_shards_of_arrays_know_their_batch_size(
        self, first, second, number
    ):
        """Counts and totals fit, but samples are missing or present twice."""
        shards = [
            certify(
                self.model,
                self.x[:number],
                self.y[:number],
                batch_size=size,
                shard=(index, 2),
            )
            for index, size in enumerate((first, second))
        ]
        self.assertEqual(sum(len(each.radius) for each in shards), number)
        with self.assertRaisesRegex(
            ValueError, f"same `batch_size`.*{first} of shard 0, {second} of"
        ):
            CertificationReport.merge(shards)

    @parameterized.parameters(True, False)
    def test_shards_of_data_sets_know_their_batch_size(self, as_iterator):
        """Each shard alone looks like one of batches of two samples."""
        shards = []
        for index, ends in enumerate(((2, 4), (3,))):
            data = Batches(self.x[:5], self.y[:5], ends)
            if as_iterator:
                data = map(data.__getitem__, range(len(data)))
            shards.append(certify(self.model, data, shard=(index, 2)))
        self.assertEqual([each.batch_sizes for each in shards], [(2, 1), (2,)])
        with self.assertRaisesRegex(ValueError, "2 of shard 0, 3 of shard 1"):
            CertificationReport.merge(shards)

    def test_batch_that_was_divided_before_does_not_know_its_size(self):
        """One of three samples from the third, and two of batches of two."""
        first, second = Batches(self.x[:5], self.y[:5], (2, 4)), (3, 5)
        shards = [
            certify(self.model, iter([first[0], first[2]])),
            certify(
                self.model,
                iter([(self.x[slice(*second)], self.y[slice(*second)])]),
            ),
        ]
        for index, shard in enumerate(shards):
            shard.shard = (index, 2)
        with self.assertRaisesRegex(
            ValueError, "set the attribute `batch_size`.*None of shard 1"
        ):
            CertificationReport.merge(shards)
        shards[1].batch_size = 3
        with self.assertRaisesRegex(ValueError, "2 of shard 0, 3 of shard 1"):
            CertificationReport.merge(shards)

    @parameterized.parameters(((5, 6), (5, 1, 17)), ((5,), (5, 18)))
    def test_uneven_batches_are_certified_but_not_merged(self, ends, sizes):
        batches = Batches(self.x, self.y, ends)
        self.assertEqual(certify(self.model, batches).batch_sizes, sizes)
        shards = [
            certify(self.model, batches, shard=(index, 2)) for index in range(2)
        ]
        with self.assertRaisesRegex(
            ValueError, f"Received: batch 1 of {sizes[1]} samples.*size=5"
        ):
            CertificationReport.merge(shards)

    def test_shards_of_unknown_batch_size_are_refused(self):
        first, second = self.shards(2)
        second = dataclasses.replace(second, batch_size=None)
        with self.assertRaisesRegex(ValueError, "batch_size=None of shard 1"):
            CertificationReport.merge([first, second])
        second.batch_size = BATCH_SIZE
        self.assertSameReport(
            CertificationReport.merge([first, second]), self.certify()
        )

    def test_missing_and_repeated_shards_are_named(self):
        shards = self.shards(3)
        for reports, message in (
            (shards[:2], r"missing shards \[2\], repeated shards \[\]"),
            (shards[1:], r"missing shards \[0\]"),
            (
                [*shards, shards[1]],
                r"missing shards \[\], repeated shards \[1\]",
            ),
            (
                [shards[0], shards[0], shards[2]],
                r"\[1\], repeated shards \[0\]",
            ),
            ([], "at least one report"),
            ([shards[0], *self.shards(2)], "into 2 and 3 parts"),
        ):
            with self.assertRaisesRegex(ValueError, message):
                CertificationReport.merge(reports)

    def test_shards_of_unequal_data_are_refused(self):
        first, second = self.shards(2)
        short = certify(
            self.model, self.x[:9], self.y[:9], batch_size=4, shard=(1, 2)
        )
        with self.assertRaisesRegex(ValueError, "the same number of samples"):
            CertificationReport.merge([first, short])
        unknown = [
            dataclasses.replace(each, num_total=None) for each in (first, short)
        ]
        with self.assertRaisesRegex(
            ValueError, "Shard 0 of 2 must contain 2 of the 4"
        ):
            CertificationReport.merge(unknown)
        second.radius = second.radius[:-1]
        with self.assertRaisesRegex(ValueError, "must add up to .* shard 1"):
            CertificationReport.merge([first, second])

    @parameterized.parameters(
        ("semantics", "float64"),
        ("abstain_below", 0.1),
        ("epsilons", (0.5,)),
        ("norm", "linf"),
    )
    def test_shards_of_other_arguments_are_refused(self, name, value):
        first, second = self.shards(2)
        second = dataclasses.replace(second, **{name: value})
        with self.assertRaisesRegex(ValueError, f"same `{name}`.*of shard 1"):
            CertificationReport.merge([first, second])

    def test_shards_of_other_models_are_refused(self):
        first, second = self.shards(2)
        other = self.certify((1, 2), make_model(1))
        with self.assertRaisesRegex(ValueError, "the same model"):
            CertificationReport.merge([first, other])
        second.audit = None
        with self.assertRaisesRegex(ValueError, "contains no audit"):
            CertificationReport.merge([first, second])
        with self.assertRaisesRegex(TypeError, "must be reports of"):
            CertificationReport.merge([first, second.radius])

    def test_shards_without_the_same_arrays_are_refused(self):
        first, second = self.shards(2)
        second.logits = None
        with self.assertRaisesRegex(ValueError, "save shards as .npz"):
            CertificationReport.merge([first, second])

    def test_looser_bound_of_two_machines_is_reported(self):
        first, second = self.shards(2)
        audit = dataclasses.replace(second.audit, lipschitz_bound=2.0)
        second = dataclasses.replace(
            second, lipschitz_bound=2.0, largest_pair_bound=3.0, audit=audit
        )
        merged = CertificationReport.merge([first, second])
        self.assertEqual(merged.lipschitz_bound, 2.0)
        self.assertEqual(merged.audit.lipschitz_bound, 2.0)
        self.assertEqual(merged.largest_pair_bound, 3.0)

    def test_attacks_count_samples_and_not_shards(self):
        first, second = self.shards(2)
        self.assertEqual((len(first.radius), len(second.radius)), (12, 11))
        first.attacks = {"PGD": {0.1: 9 / 12}}
        second.attacks = {"PGD": {0.1: 2 / 11}}
        merged = CertificationReport.merge([first, second])
        self.assertEqual(merged.attacks, {"PGD": {0.1: 11 / 23}})
        second.attacks = {}
        with self.assertRaisesRegex(ValueError, "the same attacks"):
            CertificationReport.merge([first, second])

    @parameterized.parameters(
        (2, 2), (-1, 2), (0, 0), (0.0, 2), ("ab",), (True, 2), 3, (0, 1, 2)
    )
    def test_impossible_shards_are_refused(self, *shard):
        shard = shard[0] if len(shard) == 1 else shard
        with self.assertRaisesRegex(ValueError, "`shard` must be a pair"):
            self.certify(shard)

    def test_shard_without_a_batch_is_refused(self):
        with self.assertRaisesRegex(ValueError, r"no batch for shard=\(6, 7\)"):
            self.certify((6, 7))

    def test_sample_that_is_not_finite_is_named_with_its_shard(self):
        self.x[5, 0] = np.nan
        with self.assertRaisesRegex(ValueError, r"sample 1 of shard \(1, 2\)"):
            self.certify((1, 2))

    @parameterized.parameters("report.json", "report.npz", "audit", "export")
    def test_no_number_of_an_edited_audit_gets_into_a_fresh_report(self, name):
        report = self.certify(audit=certificates.audit(self.model, verbose=0))
        self.assertIsNotNone(report.audit.layers[0].estimate)
        edited = dataclasses.replace(
            report.audit,
            lipschitz_bound=0.01,
            layers=(
                dataclasses.replace(report.audit.layers[0], bound=0.01),
                dataclasses.replace(report.audit.layers[1], estimate=0.9),
            ),
        )
        if "." in name:
            report = dataclasses.replace(
                report, lipschitz_bound=0.01, audit=edited
            )
            path = report.save(self.temporary_path(name))
            edited = CertificationReport.load(path).audit
        if name == "export":
            program = freeze(self.model)
            for source in (edited, dataclasses.replace(report, audit=edited)):
                audit, bounds = find_bounds(self.model, program, source)
                self.assertEqual(
                    audit.to_json(), self.certify().audit.to_json()
                )
                self.assertEqual(bounds.lipschitz_bound, audit.lipschitz_bound)
        self.assertEqual(edited.lipschitz_bound, 0.01)
        self.assertSameReport(self.certify(audit=edited), self.certify())

    def test_audit_of_this_process_is_reused(self):
        audit = certificates.audit(self.model, verbose=0)
        self.assertIs(self.certify(audit=audit).audit, audit)
        copied = copy.deepcopy(audit)
        self.assertIsNot(self.certify(audit=copied).audit, copied)

    def test_audit_of_an_unknown_norm_is_refused(self):
        audit = dataclasses.replace(certificates.audit(self.model), norm="l3")
        with self.assertRaisesRegex(ValueError, "l3"):
            self.certify(audit=audit)

    def test_audit_of_a_file_proves_the_bounds_again(self):
        path = self.temporary_path("report.npz")
        self.certify().save(path)
        audit = CertificationReport.load(path).audit
        self.assertIsNone(audit.pair_bounds)
        self.assertSameReport(self.certify(audit=audit), self.certify())
        other = make_model(1)
        with self.assertRaisesRegex(ValueError, "of another model"):
            certificates.certify(other, self.x, self.y, audit=audit)
