import json
import os
import pathlib
import queue
import subprocess
import sys
from unittest import mock

import keras
import pytest

from tests.lipschitz_test_case import LipschitzTestCase
from tests.load_script import BENCHMARKS
from tests.load_script import load_benchmark

HEAD = {"head": "a device"}
FINISHED = {"finished": True}


class Child:
    """Stands for the process that measures: a list of messages.

    A message that is a number stands for so many seconds without one, on a
    clock of its own.
    """

    now = 0.0

    def __init__(self, *messages):
        self.messages = list(messages)
        self.is_stopped = False

    def wait(self, seconds):
        message = self.messages.pop(0) if self.messages else None
        if isinstance(message, float):
            Child.now += min(message, max(seconds, 0.0))
            if message > seconds:
                raise queue.Empty
            return self.wait(seconds - message)
        return message

    def stop(self):
        self.is_stopped = True


def begin(key):
    return {"begin": key, "section": "layers"}


def end(key, **values):
    return {"end": key, "section": "layers", **values}


class GPUReportTest(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        self.script = load_benchmark("gpu_report")
        folder = self.temporary_path("report")
        folder.mkdir()
        self.path = folder / "gpu.json"
        self.enterContext(mock.patch("builtins.print"))

    def run_children(self, *children, seconds=60.0, row_seconds=5.0):
        """Runs the report on children that are started one after another."""
        report = self.script.Report(self.path)
        self.started = []

        def start(arguments):
            self.started.append(arguments)
            return children[len(self.started) - 1]

        with (
            mock.patch.object(self.script, "Child", start),
            mock.patch.object(self.script.time, "monotonic", lambda: Child.now),
        ):
            deadline = Child.now + seconds
            complete = self.script.run(report, True, deadline, row_seconds)
        self.assertTrue(all(child.is_stopped for child in children))
        return report, complete

    def read(self):
        return json.loads(self.path.read_text())["rows"]

    @pytest.mark.slow
    def test_smoke_report_has_all_sections(self):
        if keras.backend.backend() != "jax":
            self.skipTest("The report is made with JAX.")
        self.script.main(["--smoke", "--output", str(self.path)])
        rows = self.read()
        sections = {row["section"] for row in rows.values()}
        self.assertEqual(sections, set(self.script.SECTIONS))
        self.assertFalse([row for row in rows.values() if "failed" in row])
        audits = [row for row in rows.values() if row["section"] == "audits"]
        for row in audits:
            self.assertLess(row["estimate"], row["bound"] * (1 + 1e-5))
        # Nothing is left to measure.
        with mock.patch.object(self.script.Report, "add") as add:
            self.script.main(["--smoke", "--output", str(self.path)])
        add.assert_not_called()

    @pytest.mark.slow
    def test_nothing_but_keras_and_jax_is_needed(self):
        if keras.backend.backend() != "jax":
            self.skipTest("The report is made with JAX.")
        program = (
            "import sys\n"
            "for name in ('tensorflow', 'torch', 'sklearn', 'matplotlib'):\n"
            "    sys.modules[name] = None\n"
            f"sys.path.insert(0, {str(BENCHMARKS)!r})\n"
            "import gpu_rows\n"
            "(row,) = [r for r in gpu_rows.list_rows(True)"
            " if r.section == 'audits']\n"
            "assert row.run()['bound'] > 0\n"
        )
        root = str(pathlib.Path(BENCHMARKS).parent)
        subprocess.run(
            [sys.executable, "-c", program],
            check=True,
            env={**os.environ, "PYTHONPATH": root, "KERAS_BACKEND": "jax"},
        )

    def test_rows_are_kept_as_they_come(self):
        report, complete = self.run_children(
            Child(HEAD, begin("a"), end("a", step_ms=1.5), FINISHED)
        )
        self.assertTrue(complete)
        self.assertEqual(
            self.read(), {"a": {"section": "layers", "step_ms": 1.5}}
        )
        self.assertEqual([*self.path.parent.iterdir()], [self.path])
        tables = self.script.format_tables(report)
        self.assertIn(
            "| layers | step_ms |\n| --- | --- |\n| a | 1.5 |", tables
        )

    def test_next_run_measures_what_is_missing(self):
        self.run_children(
            Child(HEAD, begin("a"), end("a"), end("b", failed="x"), FINISHED)
        )
        self.run_children(Child(HEAD, end("b", step_ms=2.0), FINISHED))
        self.assertEqual(self.started, [["smoke", "a"]])
        self.assertEqual(self.read()["b"]["step_ms"], 2.0)

    def test_rows_of_another_device_are_refused(self):
        self.run_children(Child(HEAD, end("a"), FINISHED))
        with self.assertRaisesRegex(SystemExit, "holds a run on a device"):
            self.run_children(Child({"head": "another"}, FINISHED))

    def test_row_that_ends_the_process_is_named_and_left_out(self):
        _, complete = self.run_children(
            Child(HEAD, end("a"), begin("b")),
            Child(HEAD, begin("c"), end("c"), FINISHED),
        )
        self.assertTrue(complete)
        self.assertEqual(self.started, [["smoke"], ["smoke", "a", "b"]])
        self.assertEqual(self.read()["b"]["failed"], "its process ended")

    def test_row_that_takes_too_long_is_named_and_left_out(self):
        _, complete = self.run_children(
            Child(HEAD, begin("a"), 10.0), Child(HEAD, end("b"), FINISHED)
        )
        self.assertTrue(complete)
        self.assertIn("took longer than", self.read()["a"]["failed"])
        self.assertIn("b", self.read())

    def test_rows_that_no_time_is_left_for_stay_missing(self):
        _, complete = self.run_children(
            Child(HEAD, end("a"), begin("b"), 10.0),
            seconds=8.0,
            row_seconds=9.0,
        )
        self.assertFalse(complete)
        self.assertEqual(list(self.read()), ["a"])

    def test_sections_take_turns(self):
        if keras.backend.backend() != "jax":
            self.skipTest("The report is made with JAX.")
        rows = load_benchmark("gpu_rows").list_rows(smoke=False)
        keys = [row.key for row in rows]
        self.assertLen(set(keys), len(keys))
        first = {row.section for row in rows[:8]}
        self.assertEqual(first, set(self.script.SECTIONS))
        self.assertIn("1000 blocks, tf32", keys)
        self.assertIn("bcop, 8 x 8 x 512, bf16", keys)
