import ast

import pytest

from tests.lipschitz_test_case import LipschitzTestCase
from tests.load_script import EXAMPLES
from tests.load_script import EXPERIMENTS

pytestmark = pytest.mark.slow


def imported_packages(path):
    """Returns the top-level names that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module.split(".")[0]


class SelfContainedTest(LipschitzTestCase):
    def test_examples_import_nothing_else_of_the_repository(self):
        experiments = {path.stem for path in EXPERIMENTS.glob("*.py")}
        self.assertIn("train", experiments)
        folders = {"benchmarks", "examples", "experiments", "tests", "tuning"}
        for path in EXAMPLES.rglob("*.py"):
            found = set(imported_packages(path))
            self.assertEqual(found & (experiments | folders), set(), path)

    def test_every_example_has_a_short_run(self):
        for path in EXAMPLES.glob("*.py"):
            self.assertIn('"--smoke"', path.read_text(), path)
