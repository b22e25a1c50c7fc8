import contextlib
import importlib
import io
import json
import pathlib
import sys
from unittest import mock

import keras
import numpy as np
import pytest

from keras_lip import files
from keras_lip import tuning
from keras_lip.tuning import base_hyper_model
from keras_lip.tuning import hyper_lipschitz_mlp
from tests.lipschitz_test_case import LipschitzTestCase
from tests.marks import on_pytorch_alone
from tuning import data
from tuning import lipschitz_tuner
from tuning import pareto
from tuning import project
from tuning import search

pytestmark = pytest.mark.slow


def make_small_data(name, seed):
    """Stands for `load_data`: four classes, which a line separates."""
    rng = np.random.default_rng(seed)
    y = np.arange(32) % 4
    x = (rng.normal(size=(32, 2, 2, 1)) / 4).astype("float32")
    x[:, 0, 0, 0] += 2.0 * y
    return data.Data(x, y, x, y, x, y)


def build_small_layers(self, hp):
    """Stands for the layers of the family: one to choose."""
    units = hp.Choice("units", [4, 6, 8])
    hp.Choice("depth", [1, 2])
    return [keras.layers.Flatten(), keras.layers.Dense(units)]


class CommandTest(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        self.project = self.temporary_path("project")
        for target, name, stub in (
            (data, "load_data", make_small_data),
            (
                hyper_lipschitz_mlp.HyperLipschitzMLP,
                "build_layers",
                build_small_layers,
            ),
        ):
            patch = mock.patch.object(target, name, stub)
            patch.start()
            self.addCleanup(patch.stop)

    def run_command(self, *options, command=search, status=0, project=True):
        options = ["--epochs", "1", *options]
        if project:
            options += ["--project", str(self.project)]
        out, err = io.StringIO(), io.StringIO()
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            actual = command.main(options)
        self.assertEqual(actual, status, out.getvalue() + err.getvalue())
        return out.getvalue() + err.getvalue()


class SearchTest(CommandTest):
    def test_a_search_writes_its_results_and_can_be_extended(self):
        output = self.run_command("--trials", "2")
        self.assertIn("Held-out part", output)
        names = {path.name for path in self.project.iterdir()}
        self.assertContainsSubset(
            {
                "best.keras",
                "best_hyperparameters.json",
                "depth_and_width.png",
                "parallel_coordinates.png",
                "report.html",
                "report.json",
                "report.png",
                "trials.csv",
                "trials.md",
            },
            names,
        )
        values = json.loads(
            (self.project / "best_hyperparameters.json").read_text()
        )
        model = keras.models.load_model(self.project / "best.keras")
        self.assertEqual(model.layers[1].units, values["units"])
        first = (self.project / "trials.csv").read_text().splitlines()[1:]

        output = self.run_command("--trials", "3")
        self.assertNotIn("trial 1/", output)
        table = (self.project / "trials.csv").read_text()
        self.assertLen(table.splitlines(), 4)
        for line in first:
            self.assertIn(line.split(",COMPLETED,")[1][:20], table)

        output = self.run_command("--trials", "3", "--epsilon", "1", status=2)
        self.assertIn("epsilon is 0.3 there, and 1.0 here", output)

    @on_pytorch_alone
    def test_a_trial_that_fails_is_recorded_and_the_search_goes_on(self):
        # The first call declares the space.
        calls = iter([True, False])

        def build(self, hp):
            if next(calls, True):
                return build_small_layers(self, hp)
            raise MemoryError("out of memory")

        with mock.patch.object(
            hyper_lipschitz_mlp.HyperLipschitzMLP, "build_layers", build
        ):
            output = self.run_command("--trials", "2")
        self.assertIn("trial 1 failed: MemoryError: out of memory", output)
        table = (self.project / "trials.csv").read_text().splitlines()
        self.assertIn(",COMPLETED,", table[1])
        self.assertEndsWith(table[2], ",MemoryError: out of memory")
        self.assertIn("1,FAILED,", table[2])

    def test_a_search_of_failures_alone_says_so(self):
        with mock.patch.object(
            base_hyper_model.BaseHyperModel, "build", side_effect=MemoryError
        ):
            output = self.run_command("--trials", "2", status=1)
        self.assertIn("All 2 trials failed", output)
        self.assertFalse((self.project / "best.keras").exists())

    @on_pytorch_alone
    def test_hyperband_trains_on_from_the_weights_of_a_trial(self):
        loaded = []
        load_model = lipschitz_tuner.LipschitzTuner.load_model

        def load(tuner, trial):
            loaded.append(trial.trial_id)
            return load_model(tuner, trial)

        with mock.patch.object(
            lipschitz_tuner.LipschitzTuner, "load_model", load
        ):
            self.run_command(
                "--tuner", "hyperband", "--trials", "6", "--epochs", "3"
            )
        self.assertNotEmpty(loaded)
        table = (self.project / "trials.csv").read_text()
        self.assertEqual(table.count(",COMPLETED,"), 6, table)

    @on_pytorch_alone
    def test_a_kill_at_the_end_of_the_first_trial_loses_nothing(self):
        def kill(tuner, trial):
            tuner.oracle.end_trial(trial)
            raise KeyboardInterrupt

        with (
            mock.patch.object(
                lipschitz_tuner.LipschitzTuner, "on_trial_end", kill
            ),
            self.assertRaises(KeyboardInterrupt),
        ):
            self.run_command("--trials", "1")
        output = self.run_command("--trials", "1")
        self.assertNotIn("trial 1/1", output)
        self.assertIn("Held-out part", output)

    def test_bad_arguments_are_refused_before_anything_is_written(self):
        for options, message in (
            (["--dataset", "svhn"], "'cifar10', 'digits', 'fashion_mnist'"),
            (["--model", "cnn"], "Unknown model: 'cnn'"),
            (["--tuner", "anneal"], "Unknown tuner: 'anneal'"),
            (["--epsilon", "0"], "`epsilon` must be a finite number"),
            (["--trials", "0"], "`trials` must be a positive integer"),
            (["--worker-timeout", "0"], "`worker_timeout`"),
        ):
            output = self.run_command(*options, status=2)
            self.assertIn(message, output)
            self.assertLen(output.splitlines(), 1)
        self.assertFalse(self.project.exists())

    def test_a_folder_of_something_else_is_refused(self):
        self.project.mkdir()
        (self.project / "thesis.tex").touch()
        output = self.run_command(status=2)
        self.assertIn("which is no search", output)

    def test_a_search_whose_settings_another_worker_writes_is_joined(self):
        self.project.mkdir()
        files.replace_file(
            self.project / "settings.json",
            lambda partial: project.open_project(self.project, {}),
        )

    def test_a_search_that_another_worker_begins_meanwhile_is_joined(self):
        self.project.mkdir()
        look = pathlib.Path.iterdir

        def begin(path):
            (path / "settings.json").write_text('{"seed": 1}')
            (path / "trial_0").mkdir()
            return look(path)

        with mock.patch.object(pathlib.Path, "iterdir", begin):
            project.open_project(self.project, {"seed": 1})
        with self.assertRaisesRegex(ValueError, "has other settings"):
            project.open_project(self.project, {"seed": 2})

    def test_keras_tuner_is_asked_for(self):
        with (
            mock.patch.dict(sys.modules, {"keras_tuner": None}),
            self.assertRaisesRegex(ImportError, r"keras-lip\[tuning\]"),
        ):
            importlib.reload(tuning)


@on_pytorch_alone
class ParetoTest(CommandTest):
    def sweep(self, *options, **kwargs):
        return self.run_command(
            *("--temperatures", "1", "8", "--alphas", "2"),
            *("--output", str(self.project / "front")),
            *options,
            command=pareto,
            project=False,
            **kwargs,
        )

    def test_a_sweep_writes_a_table_and_a_picture(self):
        self.sweep()
        front = self.project / "front"
        self.assertTrue((front / "pareto.png").exists())
        rows = (front / "pareto.csv").read_text().splitlines()
        self.assertLen(rows, 4)
        self.assertStartsWith(
            rows[0], "trial,status,certified,accuracy,mcr,loss,temperature"
        )

    def test_a_sweep_takes_the_settings_of_a_search(self):
        self.run_command("--trials", "1", "--epsilon", "0.5")
        with mock.patch.object(pareto, "check_known") as check:
            self.sweep("--project", str(self.project))
        check.assert_any_call("model", "mlp", mock.ANY)

    def test_a_sweep_of_failures_alone_says_so(self):
        from keras_tuner.errors import FailedTrialError

        with mock.patch.object(
            base_hyper_model.BaseHyperModel,
            "fit",
            side_effect=FailedTrialError("diverged"),
        ):
            output = self.sweep(status=1)
        self.assertIn("No network could be trained", output)

    def test_bad_arguments_are_refused(self):
        output = self.sweep("--project", str(self.project), status=2)
        self.assertIn("No search has ended at", output)
        output = self.sweep("--alphas", "-1", status=2)
        self.assertIn("`alphas` must be a finite number", output)
        options = ["--alphas", "--temperatures"]
        output = self.sweep(*options, status=2)
        self.assertIn("nothing to sweep", output)


class DataTest(LipschitzTestCase):
    def test_the_digits_are_those_of_the_quick_start(self):
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        loaded = data.load_data("digits")
        images, labels = load_digits(return_X_y=True)
        _, held_out = train_test_split(
            labels, test_size=0.25, stratify=labels, random_state=0
        )
        self.assertAllClose(loaded.y_test, held_out)
        self.assertEqual(loaded.x_test.shape, (450, 8, 8, 1))
        self.assertEqual(loaded.input_shape, (8, 8, 1))
        self.assertEqual(loaded.classes, 10)
        self.assertEqual(len(loaded.y_train) + len(loaded.y_val), 1347)
        self.assertLen(loaded.y_val, 336)
        parts = [
            {image.tobytes() for image in part}
            for part in (loaded.x_train, loaded.x_val, loaded.x_test)
        ]
        self.assertEqual(sum(map(len, parts)), len(set.union(*parts)))

    def test_missing_packages_name_their_extra(self):
        for module, name, extra in (
            ("tensorflow_datasets", "mnist", "data"),
            ("sklearn.model_selection", "digits", "tuning"),
        ):
            with (
                mock.patch.dict(sys.modules, {module: None}),
                self.assertRaisesRegex(ImportError, rf"keras-lip\[{extra}\]"),
            ):
                data.load_data(name)
