import json
import os
import time
from unittest import mock

import keras_tuner
import pytest
from absl.testing import parameterized

from keras_lip.tuning.base_hyper_model import OBJECTIVE
from tests.lipschitz_test_case import LipschitzTestCase
from tuning.make_oracle import TUNERS
from tuning.make_oracle import make_oracle

pytestmark = pytest.mark.slow


def make_project_oracle(folder, tuner="random", trials=3, seed=0):
    """Returns the oracle of a small space, in a folder."""
    oracle = make_oracle(tuner, trials, epochs=4, seed=seed)
    space = keras_tuner.HyperParameters()
    kind = space.Choice("kind", ["plain", "scaled"])
    with space.conditional_scope("kind", ["scaled"]):
        space.Choice("scale", [1, 2, 3], default=2)
    assert kind == "plain"
    oracle.update_space(space)
    oracle.verbose = 0
    oracle._set_project_dir(str(folder.parent), folder.name)
    return oracle


def finish(oracle, trial, score=0.5, status="COMPLETED"):
    # A worker's trial is a copy of the chief's.
    trial = type(trial).from_state(json.loads(json.dumps(trial.get_state())))
    oracle.update_trial(trial.trial_id, {OBJECTIVE: score})
    trial.status = status
    oracle.end_trial(trial)


class DurableOracleTest(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        self.folder = self.temporary_path("project")
        self.folder.mkdir()

    def reload(self, tuner="random", **kwargs):
        oracle = make_project_oracle(self.folder, tuner, **kwargs)
        oracle.reload()
        return oracle

    @parameterized.parameters("random", "bayesian", "grid")
    def test_the_first_trial_has_the_defaults(self, tuner):
        for seed in range(5):
            oracle = make_project_oracle(self.folder, tuner, seed=seed)
            trial = oracle.create_trial("one")
            self.assertEqual(trial.hyperparameters.values, {"kind": "plain"})

    @parameterized.parameters(*TUNERS)
    def test_a_search_that_is_reloaded_loses_nothing(self, tuner):
        oracle = make_project_oracle(self.folder, tuner)
        finish(oracle, oracle.create_trial("one"), 0.75)
        running = oracle.create_trial("one")

        oracle = self.reload(tuner)
        self.assertEqual(oracle.get_best_trials()[0].score, 0.75)
        again = oracle.create_trial("two")
        self.assertEqual(again.trial_id, running.trial_id)
        self.assertEqual(
            again.hyperparameters.values, running.hyperparameters.values
        )
        finish(oracle, again, 0.25)
        third = oracle.create_trial("two")
        self.assertEqual(third.status, "RUNNING")
        finish(oracle, third)
        self.assertEqual(oracle.create_trial("two").status, "STOPPED")
        self.assertLen(oracle.trials, 3)

    def test_a_grid_that_is_reloaded_goes_on_where_it_was(self):
        def run(reload):
            folder = self.folder / str(reload)
            folder.mkdir()
            oracle = make_project_oracle(folder, "grid", trials=9)
            seen = []
            while (trial := oracle.create_trial("one")).status != "STOPPED":
                seen.append(trial.hyperparameters.values)
                finish(oracle, trial)
                if reload:
                    oracle = make_project_oracle(folder, "grid", trials=9)
                    oracle.reload()
            return seen

        grid = [{"kind": "plain"}] + [
            {"kind": "scaled", "scale": scale} for scale in (2, 1, 3)
        ]
        self.assertEqual(run(False), grid)
        self.assertEqual(run(True), grid)

    def test_a_kill_between_two_files_is_made_up_for(self):
        oracle = make_project_oracle(self.folder)
        state = self.folder / "oracle.json"
        finish(oracle, oracle.create_trial("one"))
        before = state.read_text()
        trial = oracle.create_trial("one")
        # The trial's own file is written first, on its begin ...
        state.write_text(before)
        reloaded = self.reload()
        self.assertEqual(reloaded.create_trial("two").trial_id, trial.trial_id)
        # ... and on its end.
        started = state.read_text()
        finish(oracle, trial, 0.875)
        state.write_text(started)
        reloaded = self.reload()
        self.assertEqual(reloaded.get_best_trials()[0].score, 0.875)
        self.assertEqual(reloaded.end_order, reloaded.start_order)
        self.assertNotEqual(
            reloaded.create_trial("two").trial_id, trial.trial_id
        )

    def test_a_kill_in_the_midst_of_a_file_leaves_the_old_one(self):
        oracle = make_project_oracle(self.folder)
        finish(oracle, oracle.create_trial("one"), 0.625)
        path = self.folder / "oracle.json"
        old = path.read_text()
        with mock.patch.object(os, "replace", side_effect=KeyboardInterrupt):
            with self.assertRaises(KeyboardInterrupt):
                oracle.save()
        self.assertEqual(path.read_text(), old)
        self.assertEqual(self.reload().get_best_trials()[0].score, 0.625)

    def test_the_trial_of_a_silent_worker_goes_on_to_another(self):
        oracle = make_project_oracle(self.folder, trials=2)
        lost = oracle.create_trial("dies")
        kept = oracle.create_trial("lives")
        self.assertEqual(oracle.release_silent(60.0), [])
        with mock.patch.object(time, "monotonic", return_value=1e12):
            oracle.get_trial(kept.trial_id)
            self.assertEqual(oracle.release_silent(60.0), ["dies"])
            self.assertEqual(oracle.release_silent(60.0), [])
            finish(oracle, kept)
            again = oracle.create_trial("lives")
        self.assertEqual(again.trial_id, lost.trial_id)
        finish(oracle, again)
        self.assertEqual(oracle.create_trial("lives").status, "STOPPED")
        self.assertEmpty(oracle.ongoing_trials)
        self.assertEmpty(oracle.tuner_ids)

    def test_nobody_leaves_while_a_trial_runs(self):
        oracle = make_project_oracle(self.folder, trials=1)
        trial = oracle.create_trial("one")
        self.assertEqual(oracle.create_trial("two").status, "IDLE")
        self.assertIn("two", oracle.tuner_ids)
        finish(oracle, trial)
        self.assertEqual(oracle.create_trial("two").status, "STOPPED")

    def test_the_first_result_of_a_trial_counts(self):
        oracle = make_project_oracle(self.folder, trials=1)
        trial = oracle.create_trial("slow")
        with mock.patch.object(time, "monotonic", return_value=1e12):
            oracle.release_silent(60.0)
        oracle.create_trial("fast")
        finish(oracle, trial, 0.75)
        finish(oracle, trial, 0.25)
        self.assertEqual(oracle.get_best_trials()[0].score, 0.75)
        self.assertEqual(oracle.end_order, [trial.trial_id])

    def test_a_late_result_is_taken_from_the_queue(self):
        oracle = make_project_oracle(self.folder, trials=1)
        trial = oracle.create_trial("slow")
        with mock.patch.object(time, "monotonic", return_value=1e12):
            oracle.release_silent(60.0)
        finish(oracle, trial, 0.75)
        self.assertEqual(oracle.create_trial("fast").status, "STOPPED")

    def test_failures_do_not_end_the_search(self):
        oracle = make_project_oracle(self.folder, trials=5, tuner="grid")
        for _ in range(4):
            finish(oracle, oracle.create_trial("one"), status="FAILED")
        statuses = {trial.status for trial in oracle.trials.values()}
        self.assertEqual(statuses, {"FAILED"})
        self.assertEqual(oracle.create_trial("one").status, "STOPPED")
