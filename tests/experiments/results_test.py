from unittest import mock

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

    def test_second_table_is_printed_if_asked_for(self):
        results = load_experiment("results")
        file = self.temporary_path("result.json")
        file.write_text(results.json.dumps(RESULT))
        for arguments, count in (([], 1), (["--published"], 2)):
            with mock.patch("builtins.print") as printed:
                results.main([str(file), *arguments])
            self.assertEqual(printed.call_count, count)
