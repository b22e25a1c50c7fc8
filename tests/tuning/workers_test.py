"""Searches in processes of their own, some of which are killed."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time

import keras
import pytest

from tests.lipschitz_test_case import LipschitzTestCase
from tests.marks import on_pytorch_alone

pytestmark = pytest.mark.slow


@on_pytorch_alone
class WorkersTest(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        self.project = self.temporary_path("project")
        self.processes = []
        self.addCleanup(self.end_processes)

    def end_processes(self):
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()
            process.stdout.close()

    def start(self, *options, **variables):
        command = [sys.executable, "-m", "tuning.search", *options]
        command += ["--project", str(self.project), "--refit-epochs", "1"]
        process = subprocess.Popen(
            command,
            env={
                **os.environ,
                "KERAS_BACKEND": keras.backend.backend(),
                "OMP_NUM_THREADS": "1",
                **variables,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.processes.append(process)
        return process

    def wait_until(self, condition):
        while not condition(self.read("oracle.json")):
            for process in self.processes:
                if process.poll() is not None:
                    self.fail(process.communicate()[0])
            time.sleep(0.05)

    def read(self, name):
        path = self.project / name
        empty = {"ongoing_trials": {}, "end_order": []}
        return json.loads(path.read_text()) if path.exists() else empty

    def assertSearched(self, output, trials):
        self.assertIn("Held-out part", output)
        self.assertTrue((self.project / "best.keras").exists())
        table = (self.project / "trials.csv").read_text().splitlines()
        self.assertLen(table, 1 + trials)
        for line in table[1:]:
            self.assertIn(",COMPLETED,", line)

    def test_a_killed_search_goes_on_where_it_was(self):
        options = ["--trials", "3", "--epochs", "2", "--batch-size", "256"]
        killed = self.start(*options)
        self.wait_until(
            lambda state: state["end_order"] and state["ongoing_trials"]
        )
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
        self.processes.remove(killed)
        finished = sorted(self.project.glob("trial_*/weights.npz"))
        written = finished[0].stat().st_mtime_ns
        output = self.start(*options).communicate()[0]
        self.assertSearched(output, 3)
        self.assertEqual(finished[0].stat().st_mtime_ns, written)

    def test_a_worker_that_is_killed_loses_nothing(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])

        def start(tuner_id):
            return self.start(
                *("--trials", "3", "--epochs", "4", "--batch-size", "256"),
                *("--worker-timeout", "6"),
                KERASTUNER_TUNER_ID=tuner_id,
                KERASTUNER_ORACLE_IP="127.0.0.1",
                KERASTUNER_ORACLE_PORT=port,
            )

        chief, killed, worker = map(start, ("chief", "first", "second"))
        self.wait_until(lambda state: "first" in state["ongoing_trials"])
        lost = self.read("oracle.json")["ongoing_trials"]["first"]
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
        self.processes.remove(killed)
        output = chief.communicate()[0]
        self.assertEqual(chief.returncode, 0, output)
        worker.communicate()
        self.assertEqual(worker.returncode, 0)
        self.assertIn("worker 'first' was silent", output)
        self.assertIn(f"trial {int(lost) + 1} goes on to another", output)
        self.assertSearched(output, 3)
