import sys
from unittest import mock

import keras_tuner
import pytest

from keras_lip.figures import make_figure
from tests.lipschitz_test_case import LipschitzTestCase
from tuning.plot_depth_and_width import plot_depth_and_width
from tuning.plot_parallel_coordinates import plot_parallel_coordinates
from tuning.plot_pareto_front import find_pareto_front
from tuning.trial_lines import describe_end
from tuning.trial_lines import describe_failure
from tuning.trial_lines import describe_start
from tuning.trial_table import METRICS
from tuning.trial_table import format_csv
from tuning.trial_table import format_markdown
from tuning.trial_table import tabulate_trials

pytestmark = pytest.mark.slow


def make_trial(number, values, score=None, message=None):
    parameters = keras_tuner.HyperParameters()
    parameters.values = values
    trial = keras_tuner.engine.trial.Trial(
        parameters,
        trial_id=f"{number:02d}",
        status="FAILED" if score is None else "COMPLETED",
        message=message,
    )
    if score is not None:
        trial.score = score
        for name in METRICS.values():
            trial.metrics.register(name, "max")
            trial.metrics.update(name, score)
    return trial


class TrialTableTest(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        worse = {"depth": 2, "loss": "hkr", "alpha": 1 / 3, "tuner/epochs": 9}
        self.trials = [
            make_trial(
                0, {"depth": 4}, message="Traceback:\nOops: no | memory"
            ),
            make_trial(1, {**worse, "tuner/bracket": 1}, 0.5),
            make_trial(2, {"depth": 1, "loss": "hinge"}, 0.75),
        ]

    def test_the_best_trial_is_first_and_failures_are_last(self):
        rows = tabulate_trials(self.trials)
        self.assertEqual([row["trial"] for row in rows], [3, 2, 1])
        self.assertEqual(
            format_csv(rows).splitlines(),
            [
                "trial,status,certified,accuracy,mcr,depth,loss,alpha,epochs,"
                "failure",
                "3,COMPLETED,0.75,0.75,0.75,1,hinge,,,",
                f"2,COMPLETED,0.5,0.5,0.5,2,hkr,{1 / 3},9,",
                "1,FAILED,,,,4,,,,Oops: no | memory",
            ],
        )
        lines = format_markdown(rows).splitlines()
        self.assertEqual(
            lines[3],
            "| 2 | COMPLETED | 50.0% | 50.0% | 0.5 | 2 | hkr | 0.3333 | 9 |  |",
        )
        self.assertIn("Oops: no / memory", lines[4])

    def test_lines_say_how_it_goes(self):
        failed, worse, best = self.trials
        self.assertEqual(
            describe_start(worse, 8),
            "trial 2/8: depth=2 loss=hkr alpha=0.3333 tuner/epochs=9",
        )
        self.assertEqual(
            describe_end(worse, best, "score"),
            "trial 2: score 50.00%, best 75.00% of trial 3",
        )
        self.assertEqual(
            describe_end(failed, best, "score"),
            "trial 1 failed: Oops: no | memory",
        )
        self.assertIn("its worker", describe_failure(make_trial(0, {})))

    def test_pictures_are_drawn_of_few_trials_and_of_many(self):
        rows = [
            {"trial": i, "certified": i / 9, "depth": i % 3, "units": 8 * i}
            for i in range(1, 9)
        ]
        rows[0]["alpha"] = 2.0
        path = self.temporary_path("picture.png")
        for count in (1, 8):
            for plot in (plot_depth_and_width, plot_parallel_coordinates):
                plot(rows[:count], path)
                self.assertEqual(path.read_bytes()[1:4], b"PNG")
                path.unlink()

    def test_matplotlib_is_asked_for(self):
        with (
            mock.patch.dict(sys.modules, {"matplotlib.figure": None}),
            self.assertRaisesRegex(ImportError, r"keras-lip\[report\]"),
        ):
            make_figure(1, 1)

    def test_nothing_on_the_front_is_beaten(self):
        points = [(0.9, 0.1), (0.8, 0.5), (0.8, 0.4), (0.7, 0.5), (0.6, 0.8)]
        rows = [{"accuracy": a, "mcr": m} for a, m in points]
        front = find_pareto_front(rows, "mcr")
        self.assertEqual(front, [rows[0], rows[1], rows[4]])
