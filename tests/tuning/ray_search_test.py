import importlib.util
import os
import pathlib
import subprocess
import sys
import textwrap
from types import SimpleNamespace
from unittest import mock

import keras_tuner
import pytest
from absl.testing import parameterized

from keras_lip import tuning
from tests.lipschitz_test_case import LipschitzTestCase
from tests.marks import on_pytorch_alone
from tests.tuning.search_test import CommandTest
from tuning import ray_search
from tuning.trial_table import tabulate_trials

pytestmark = [pytest.mark.slow, on_pytorch_alone]

FAMILIES = ("HyperLipschitzMLP", "HyperLipschitzConvNet")
SETTINGS = {"epochs": 9, "trials": 2, "seed": 0}


def make_family(name="HyperLipschitzMLP"):
    return getattr(tuning, name)((8, 8, 1), 10, 0.3)


class RaySearchTest(LipschitzTestCase):
    @parameterized.parameters(*FAMILIES)
    def test_first_trial_has_the_defaults(self, name):
        family = make_family(name)
        space = keras_tuner.HyperParameters()
        family.declare_hyperparameters(space)
        defaults = {
            each.name: each.default
            for each in space.space
            if space.is_active(each)
        }
        self.assertEqual(ray_search.draw_values(family, 0, 7), defaults)

    @parameterized.parameters(*FAMILIES)
    def test_values_depend_on_seed_and_number_alone_and_build_a_model(
        self, name
    ):
        family = make_family(name)
        drawn = [ray_search.draw_values(family, n, 0) for n in range(12)]
        self.assertEqual(drawn[5], ray_search.draw_values(family, 5, 0))
        self.assertNotEqual(drawn[5], ray_search.draw_values(family, 5, 1))
        self.assertGreater(len({str(each) for each in drawn}), 8)
        for values in drawn:
            found = ray_search.make_hyperparameters(family, values)
            active = {
                each.name: found.values[each.name]
                for each in found.space
                if found.is_active(each)
            }
            self.assertEqual(active, values)

    def test_trials_are_compared_after_powers_of_three_and_at_the_end(self):
        for epochs, rungs in ((1, [1]), (9, [1, 3, 9]), (10, [1, 3, 9, 10])):
            reported = []
            callback = ray_search.ReportAtRungs(
                lambda model: {"score": 0.5}, epochs, reported.append
            )
            for epoch in range(epochs):
                callback.on_epoch_end(epoch)
            self.assertEqual([each["epoch"] for each in reported], rungs)
            self.assertEqual(reported[0]["score"], 0.5)

    def test_only_trials_of_all_epochs_are_compared(self):
        family = make_family()
        metrics = {"val_certified_accuracy": 0.5, "val_accuracy": 0.75}
        metrics["val_mean_certifiable_robustness"] = 0.25
        trials = [
            ray_search.read_trial(
                family,
                SimpleNamespace(
                    config={
                        "trial": {
                            "number": number,
                            "values": ray_search.draw_values(family, number, 0),
                        }
                    },
                    metrics=found,
                    error=error,
                ),
                SETTINGS,
            )
            for number, (found, error) in enumerate(
                (
                    ({"epoch": 3, **metrics}, None),
                    ({"epoch": 9, **metrics}, None),
                    (None, RuntimeError("trace\nMemoryError: none left")),
                )
            )
        ]
        rows = tabulate_trials(trials)
        self.assertEqual(
            [(row["trial"], row["status"]) for row in rows],
            [(2, "COMPLETED"), (1, "STOPPED"), (3, "FAILED")],
        )
        self.assertEqual(rows[0]["certified"], 0.5)
        self.assertNotIn("certified", rows[1])
        self.assertEqual(rows[2]["failure"], "MemoryError: none left")


class RayCommandTest(CommandTest):
    def test_missing_ray_is_named(self):
        with mock.patch.dict(sys.modules, {"ray": None}):
            output = self.run_command(command=ray_search, status=2)
        self.assertIn("keras-lip[ray]", output)
        self.assertFalse(self.project.exists())

    @parameterized.parameters(
        ("--trials", "0"), ("--model", "tree"), ("--epsilon", "-1")
    )
    def test_wrong_arguments_are_refused(self, *options):
        self.run_command(*options, command=ray_search, status=2)
        self.assertFalse(self.project.exists())


def interrupt_once(mark):
    """Returns a `RunConfig` that ends a search when a trial is over, once."""
    from ray import tune

    class Stop(tune.Callback):
        def on_trial_complete(self, iteration, trials, trial, **info):
            if not os.path.exists(mark):
                pathlib.Path(mark).write_text(trial.trial_id)
                raise KeyboardInterrupt

    class Interrupted(tune.RunConfig):
        def __init__(self, **kwargs):
            super().__init__(**{**kwargs, "callbacks": [Stop()]})

    return Interrupted


@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed."
)
class RayClusterTest(LipschitzTestCase):
    def test_interrupted_search_goes_on(self):
        project = self.temporary_path("project")
        command = [
            *("--trials", "3", "--epochs", "3", "--refit-epochs", "1"),
            *("--project", str(project)),
        ]
        mark = self.temporary_path("mark")
        run_config = interrupt_once(str(mark))
        with mock.patch("builtins.print"):
            with mock.patch("ray.tune.RunConfig", run_config):
                with self.assertRaises(KeyboardInterrupt):
                    ray_search.main(command)
            self.assertTrue(mark.exists())
            self.assertFalse((project / "trials.csv").exists())
            self.assertEqual(ray_search.main(command), 0)
        table = (project / "trials.csv").read_text().splitlines()
        self.assertLen(table, 4)
        self.assertIn("COMPLETED", table[1])
        self.assertTrue((project / "report.html").exists())
        # Other settings are another search.
        command[1] = "4"
        self.assertEqual(ray_search.main(command), 2)

    def run_script(self, script):
        """Runs Python where only this process finds the package `tuning`."""
        folder = self.temporary_path("script.py").parent
        library = folder / "library"
        library.mkdir()
        root = pathlib.Path(ray_search.__file__).parents[1]
        (library / "keras_lip").symlink_to(root / "keras_lip")
        paths = [str(library), *(path for path in sys.path if path)]
        # An editable installation would also bring `tuning`.
        paths = [path for path in paths if pathlib.Path(path) != root]
        start = f"import sys; sys.path.append({str(root)!r})\n"
        return subprocess.run(
            [sys.executable, "-c", start + textwrap.dedent(script)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )

    def test_workers_get_a_copy_of_the_package(self):
        run = self.run_script(
            """
            from tuning import ray_cluster
            import ray

            def find():
                import os
                import tuning.data
                return tuning.data.__file__, os.environ["KERAS_BACKEND"]

            assert ray_cluster.start_ray()
            ray_cluster.check_workers()
            print(*ray.get(ray.remote(find).remote()))
            """
        )
        self.assertEqual(run.returncode, 0, run.stderr[-3000:])
        path, backend = run.stdout.split()[-2:]
        self.assertIn("runtime_resources", path)
        self.assertEqual(backend, "torch")

    def test_worker_that_cannot_import_is_explained(self):
        project = self.temporary_path("project")
        run = self.run_script(
            f"""
            import ray
            from tuning import ray_search

            ray.init(include_dashboard=False, log_to_driver=False)
            sys.exit(ray_search.main(["--project", {str(project)!r}]))
            """
        )
        self.assertEqual(run.returncode, 2, run.stderr[-3000:])
        self.assertRegex(
            run.stderr,
            "tuning.ray_search: The workers of Ray cannot import what a trial "
            "needs: No module named 'tuning'",
        )
        self.assertFalse(project.exists())

    def test_missing_cluster_is_explained(self):
        project = self.temporary_path("project")
        with mock.patch("ray.init", side_effect=ConnectionError("None found.")):
            with mock.patch("sys.stderr") as stderr:
                status = ray_search.main(["--project", str(project)])
        self.assertEqual(status, 2)
        printed = "".join(str(call) for call in stderr.write.mock_calls)
        self.assertIn("no Ray cluster to connect to: None found.", printed)
        self.assertFalse(project.exists())
