"""Pages of results beside the recipes, where the published numbers are."""

import pathlib
import re

import pytest

from tests.lipschitz_test_case import LipschitzTestCase
from tests.load_script import load_experiment
from tests.marks import on_pytorch_alone

pytestmark = [pytest.mark.slow, on_pytorch_alone]

PAGES = pathlib.Path(__file__).parents[2] / "docs" / "results"
DATASETS = {"CIFAR-10": "cifar10", "CIFAR-100": "cifar100", "MNIST": "mnist"}
# Our own recipes that are compared with the network that they vary.
VARIANTS = {"small-bcop-wide"}
RADII = {"36/255": "0.1412", "72/255": "0.2824", "108/255": "0.4235"}


def read_tables(page):
    """Yields the data set, the titles and the cells of each row of a page.

    The data set is the last heading, if it is one.
    """
    dataset, titles = None, None
    for line in page.read_text().splitlines():
        if line.startswith("#"):
            dataset = DATASETS.get(line.lstrip("# "), None)
        if not line.startswith("|"):
            titles = None
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if titles is None:
            titles = cells
        elif not re.fullmatch(r"[-|]+", line):
            yield dataset, titles, cells


def read_number(cell):
    """Returns a published number, or its mean and standard deviation."""
    numbers = [float(number) for number in cell.split(" ± ")]
    return numbers if len(numbers) > 1 else numbers[0]


class ResultPagesTest(LipschitzTestCase):
    def read_published(self):
        """Returns numbers by recipe, data set, measure and radius."""
        found = {}
        for page in sorted(PAGES.glob("*.md")):
            for dataset, titles, cells in read_tables(page):
                self.assertLen(cells, len(titles), f"{page.name}: {cells}")
                recipe = cells[0]
                if titles[0] != "recipe" or not recipe.startswith("`"):
                    continue
                for title, cell in zip(titles, cells, strict=True):
                    if not title.startswith("paper: ") or cell == "–":
                        continue
                    self.assertIsNotNone(dataset, f"{page.name}: {cells}")
                    measure, *radius = title.removeprefix("paper: ").split()
                    radius = [RADII.get(each, each) for each in radius]
                    key = (recipe.strip("`"), dataset, measure, *radius)
                    number = read_number(cell)
                    self.assertEqual(found.setdefault(key, number), number)
        return found

    def test_every_published_number_is_on_a_page_and_in_a_recipe(self):
        module = load_experiment("recipes")
        expected = {}
        for recipe in module.read_recipes():
            if recipe in VARIANTS:
                continue
            for dataset in DATASETS.values():
                paper = module.load_recipe(recipe, dataset).paper
                for measure, value in paper.items():
                    key = (recipe, dataset, measure)
                    if isinstance(value, dict):
                        expected.update(
                            {(*key, radius): v for radius, v in value.items()}
                        )
                    else:
                        expected[key] = value
        self.assertGreater(len(expected), 200)
        found, expected = (
            {(*key, str(value)) for key, value in numbers.items()}
            for numbers in (self.read_published(), expected)
        )
        self.assertEqual(sorted(found - expected), [])
        self.assertEqual(sorted(expected - found), [])

    def test_commands_name_known_recipes(self):
        known = load_experiment("recipes").read_recipes()
        texts = [page.read_text() for page in PAGES.glob("*.md")]
        names = re.findall(r"--recipe\s+([\w.-]+)", "\n".join(texts))
        self.assertGreater(len(names), 4)
        for name in names:
            # One command has a variable in the name.
            self.assertTrue(name in known or name == "lipconvnet-", name)
