import contextlib
import io
from unittest import mock

import keras
import numpy as np

from keras_lip import certificates
from keras_lip.layers import UnitNormDense
from keras_lip.progress import check_verbose
from keras_lip.progress import track
from tests.lipschitz_test_case import LipschitzTestCase
from tests.marks import on_pytorch_alone


class Terminal(io.StringIO):
    def isatty(self):
        return True


def printed(run, out):
    with contextlib.redirect_stdout(out):
        run()
    return out.getvalue()


@on_pytorch_alone
class ProgressTest(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        self.model = keras.Sequential([keras.Input((2,)), UnitNormDense(3)])

    def certify(self, **kwargs):
        return certificates.certify(
            self.model, np.eye(2), [0, 1], batch_size=1, **kwargs
        )

    def test_items_are_yielded_and_counted(self):
        for total in 3, None:
            found = []
            text = printed(
                lambda found=found, total=total: found.extend(
                    track(iter("abc"), 1, "letter", total)
                ),
                io.StringIO(),
            )
            self.assertEqual(found, ["a", "b", "c"])
            self.assertIn("3/3" if total else "3/Unknown", text)

    def test_bars_are_drawn_in_terminals_alone(self):
        with mock.patch.dict("sys.modules"):
            import sys

            sys.modules.pop("ipykernel", None)
            self.assertEqual(printed(self.certify, io.StringIO()), "")
        text = printed(self.certify, Terminal())
        self.assertIn("1/1", text)
        self.assertIn("2/2", text)
        quiet = printed(lambda: self.certify(verbose=0), Terminal())
        self.assertEqual(quiet, "")

    def test_a_bar_counts_the_batches_of_a_shard(self):
        text = printed(
            lambda: self.certify(verbose=1, shard=(1, 2)), io.StringIO()
        )
        self.assertNotIn("2/2", text)

    def test_audits_count_operations_and_layers(self):
        text = printed(
            lambda: certificates.audit(self.model, verbose=1), io.StringIO()
        )
        self.assertEqual(text.count("1/1"), 2)

    def test_other_values_are_refused(self):
        for value in "often", 2, True, None:
            with self.assertRaisesRegex(ValueError, "`verbose` must be"):
                check_verbose(value)
            with self.assertRaisesRegex(ValueError, "`verbose` must be"):
                self.certify(verbose=value)
            with self.assertRaisesRegex(ValueError, "`verbose` must be"):
                certificates.audit(self.model, verbose=value)
