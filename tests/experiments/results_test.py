import json
from unittest import mock

from absl.testing import parameterized

from tests.lipschitz_test_case import LipschitzTestCase
from tests.load_script import load_experiment

RESULT = {
    "recipe": "small-bcop",
    "dataset": "cifar10",
    "clean": 0.6,
    "certified": {"0.1412": 0.5, "0.2824": 0.25},
    "attacked": {"0.1412": 0.55},
    "lipschitz_bound": 1.0,
    "parameters": 1234,
    "epochs": 2,
    "seed": 0,
    "seconds": 90.0,
    "hardware": "cpu",
    "backend": "torch",
    "paper": {"clean": 64.53, "certified": {"0.1412": 50.01}},
}
SPREAD = {
    "clean": [64.53, 0.3],
    "certified": {"0.1412": [50.01, 0.21]},
    "pgd": {"0.1412": [51.26, 0.17]},
    "empirical_lipschitz_constant": 0.61,
}


def make_result(seed, clean=0.6, certified=0.4, **changes):
    return {
        "recipe": "small-bcop",
        "dataset": "mnist",
        "part": "test",
        "changes": [],
        "seed": seed,
        "epochs": 3,
        "samples": 60_000,
        "validation": 0,
        "dtype_policy": "float32",
        "attack_steps": 40,
        "attacked_samples": 500,
        "seconds": 60.0 * seed,
        "hardware": "2 cores",
        "backend": "jax",
        "parameters": 1000,
        "lipschitz_bound": 1.0 + 1e-6 * seed,
        "clean": clean,
        "certified": {"0.1": certified, "0.3": 0.2},
        "attacked": {"0.1": 0.5},
        "paper": {"clean": 64.53, "certified": {"0.1": 50.01}},
        **changes,
    }


class ResultsTest(LipschitzTestCase):
    def test_row_shows_means_as_it_shows_numbers(self):
        results = load_experiment("results")
        row = results.format_row(RESULT)
        self.assertEqual(
            row,
            "| `small-bcop` | 0.1412 | 64.53 / 50.01 | 60.00 / 50.00 | 55.0 "
            "| 1.000000 | 1,234 | 2 | 0 | 1.5 | cpu, torch |",
        )
        self.assertEqual(results.format_row({**RESULT, "paper": SPREAD}), row)
        other = results.format_row({**RESULT, "paper": SPREAD}, "0.2824")
        self.assertIn("| 0.2824 | 64.53 / – | 60.00 / 25.00 |", other)

    def test_published_results_are_a_table_of_their_own(self):
        results = load_experiment("results")
        table = results.format_published_table(
            [{**RESULT, "paper": SPREAD, "changes": ["crop=2"]}, RESULT]
        )
        changed = "| `small-bcop crop=2` | cifar10 |"
        self.assertEqual(
            table.splitlines(),
            [
                "| recipe | data set | result | radius | paper | ours |",
                "|---|---|---|---|---|---|",
                f"{changed} clean | – | 64.53 ± 0.30 | 60.00 |",
                f"{changed} certified | 0.1412 | 50.01 ± 0.21 | 50.00 |",
                f"{changed} pgd | 0.1412 | 51.26 ± 0.17 | – |",
                f"{changed} empirical lipschitz constant | – | 0.61 | – |",
                "| `small-bcop` | cifar10 | clean | – | 64.53 | 60.00 |",
                "| `small-bcop` | cifar10 | certified | 0.1412 | 50.01 "
                "| 50.00 |",
            ],
        )

    def test_evaluations_beside_the_result_are_ours(self):
        script = load_experiment("results")
        folder = self.temporary_path("run")
        (folder / "evaluation").mkdir(parents=True)
        paper = {
            **SPREAD,
            "clean_first_100": 74.2,
            "fgsm": {"0.1412": 51.57},
            "autoattack": {"0.1412": 50.0},
            "boundary": {"0.1412": 61.2},
            "pointwise": {"0.1412": 74.0},
        }
        radius = str(36 / 255)
        evaluation = {
            "sha256": "abc",
            "attacked_samples": 200,
            "clean": 0.7,
            "clean_first_100": 0.75,
            "empirical_lipschitz_constant": 0.634,
            "attacks": {
                "PGD": {"0.0": 0.6, radius: 0.53},
                "PGD on the margin": {"0.0": 0.6, radius: 0.52},
                "FGSM": {radius: 0.54},
                "boundary, first 100": {radius: 0.61},
                "pointwise, first 50": {radius: 0.7},
            },
        }
        file = folder / "evaluation" / "evaluation.json"
        file.write_text(json.dumps(evaluation))
        path = folder / "result.json"
        path.write_text(json.dumps({**RESULT, "sha256": "abc", "paper": paper}))
        table = script.format_published_table([script.read_result(path)])
        ours = {}
        for line in table.splitlines()[2:]:
            cells = line.strip("| ").split(" | ")
            ours[cells[2]] = cells[-1]
        self.assertEqual(
            ours,
            {
                # Of all test images, by `train.py`.
                "clean": "60.00",
                "certified": "50.00",
                # The stronger one.
                "pgd": "52.00 (first 200)",
                "fgsm": "54.00 (first 200)",
                # Not run.
                "autoattack": "–",
                "pointwise": "70.00 (first 50)",
                "boundary": "61.00 (first 100)",
                "clean first 100": "75.00",
                "empirical lipschitz constant": "0.63",
            },
        )
        # The network was trained again after the evaluation.
        path.write_text(json.dumps({**RESULT, "sha256": "xyz"}))
        with self.assertRaisesRegex(ValueError, "evaluate.py` again"):
            script.read_result(path)
        with mock.patch("sys.stderr"), self.assertRaises(SystemExit):
            script.main([str(path)])

    def test_second_table_is_printed_if_asked_for(self):
        results = load_experiment("results")
        file = self.temporary_path("result.json")
        file.write_text(results.json.dumps(RESULT))
        for arguments, count in (([], 1), (["--published"], 2)):
            with mock.patch("builtins.print") as printed:
                results.main([str(file), *arguments])
            self.assertEqual(printed.call_count, count)


class GroupedResultsTest(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        self.script = load_experiment("results")

    def rows(self, results, *arguments):
        paths = []
        for index, result in enumerate(results):
            path = self.temporary_path(f"{index}.json")
            path.write_text(json.dumps(result))
            paths.append(str(path))
        with mock.patch("builtins.print") as printed:
            self.script.main([*paths, *arguments])
        return printed.call_args.args[0].splitlines()[2:]

    def test_group_has_a_mean_and_a_standard_deviation(self):
        results = [
            make_result(1, 0.60, 0.40),
            make_result(3, 0.62, 0.40),
            make_result(2, 0.67, 0.43, attacked={"0.1": 0.62}),
        ]
        (row,) = self.rows(results, "--group")
        # Of 60, 62 and 67: the squares 9, 1 and 16 by two.
        ours = "63.00 ± 3.61 / 41.00 ± 1.73"
        self.assertEqual(
            row,
            f"| `small-bcop` | 0.1 | 64.53 / 50.01 | {ours} | 54.00 ± 6.93 "
            "| 1.000003 | 1,000 | 3 | 1, 2, 3 | 2.0 | 2 cores, jax |",
        )
        self.assertLen(self.rows(results), 3)
        (row,) = self.rows(results, "--group", "--radius", "0.3")
        self.assertIn("| 0.3 | 64.53 / – | 63.00 ± 3.61 / 20.00 ± 0.00 |", row)
        # No accuracy under attack at this radius.
        self.assertIn("20.00 ± 0.00 | – | 1.000003", row)

    def test_group_of_one_run_has_no_deviation(self):
        (row,) = self.rows([make_result(4)], "--group")
        self.assertIn("| 60.00 / 40.00 | 50.00 |", row)

    @parameterized.parameters(
        ("recipe", "small-rko"),
        ("changes", ["width=8"]),
        ("dataset", "cifar10"),
        ("part", "validation"),
        ("epochs", 4),
        ("backend", "torch"),
        ("hardware", "8 cores"),
        ("samples", 1000),
        ("validation", 500),
        ("dtype_policy", "mixed_bfloat16"),
        ("attack_steps", 10),
        ("attacked_samples", 100),
    )
    def test_runs_that_differ_in_more_than_the_seed_are_rows(self, name, value):
        other = make_result(2, **{name: value})
        results = [make_result(1), other, make_result(3)]
        self.assertLen(self.rows(results, "--group"), 2)

    def test_runs_of_the_same_seed_are_refused(self):
        results = [make_result(1), make_result(1)]
        with mock.patch("sys.stderr"), self.assertRaises(SystemExit):
            self.rows(results, "--group")
        with self.assertRaisesRegex(ValueError, r"different seeds.*\[1, 1\]"):
            self.script.group_runs(results)
