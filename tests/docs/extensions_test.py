import importlib.util
import json
import pathlib
import re
import sys
from unittest import mock

import pytest

from keras_lip import applications
from keras_lip.applications import published_weights
from tests.lipschitz_test_case import LipschitzTestCase
from tests.marks import on_pytorch_alone

pytestmark = on_pytorch_alone

DOCS = pathlib.Path(__file__).parents[2] / "docs"


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    with mock.patch.object(sys, "path", [str(path.parent), *sys.path]):
        spec.loader.exec_module(module)
    return module


class ShortSidebarTest(LipschitzTestCase):
    def test_branches_are_collapsed_whatever_the_theme_asks_for(self):
        extension = load(DOCS / "extensions" / "short_sidebar.py")
        app, asked = mock.Mock(), []
        extension.setup(app)
        (event, function), options = app.connect.call_args
        self.assertEqual(event, "html-page-context")
        # Furo's own handler has the default, 500.
        self.assertLess(options["priority"], 500)
        context = {"toctree": lambda **options: asked.append(options)}
        function(app, "page", "page.html", context, None)
        context["toctree"](collapse=False, titles_only=True)
        self.assertEqual(asked, [{"collapse": True, "titles_only": True}])
        function(app, "search", "search.html", {}, None)


class SiteLinksTest(LipschitzTestCase):
    def test_links_lead_to_pages_of_the_site(self):
        rewrite = load(DOCS / "extensions" / "site_links.py").rewrite_links
        text = (
            "[a](RESULTS.md), [b](docs/guides/audits.md#keep-it), "
            "[c](experiments/recipes.toml), [d](https://keras.io/a.md), "
            "![e](docs/_static/e.svg), `f[0](inputs)`"
        )
        self.assertEqual(
            rewrite(text, DOCS.parent),
            "[a](/generated/results.md), [b](/guides/audits.md#keep-it), c, "
            "[d](https://keras.io/a.md), ![e](docs/_static/e.svg), "
            "`f[0](inputs)`",
        )
        self.assertEqual(
            rewrite("[f](../../RESULTS.md)", DOCS / "results"),
            "[f](/generated/results.md)",
        )


class NotebooksTest(LipschitzTestCase):
    def test_notebooks_are_those_of_their_scripts(self):
        pytest.importorskip("jupytext")
        module = load(DOCS / "extensions" / "notebook_files.py")
        scripts = sorted(module.FOLDER.glob("*.py"))
        files = [path.with_suffix(".ipynb") for path in scripts]
        self.assertNotEmpty(scripts)
        self.assertEqual(sorted(module.FOLDER.glob("*.ipynb")), files)
        for script, file in zip(scripts, files, strict=True):
            self.assertEqual(
                file.read_text("utf-8"), module.format_notebook(script)
            )

    def test_notebooks_choose_a_backend_before_they_import_keras(self):
        for file in sorted((DOCS / "notebooks").glob("*.ipynb")):
            cells = json.loads(file.read_text("utf-8"))["cells"]
            first, *others = [
                "".join(cell["source"])
                for cell in cells
                if cell["cell_type"] == "code"
            ]
            self.assertIn('os.environ["KERAS_BACKEND"] = ', first)
            self.assertNotIn("import keras", first)
            self.assertIn("import keras", others[0])
            self.assertTrue(all(not cell.get("outputs") for cell in cells))


class MarkdownDocstringsTest(LipschitzTestCase):
    def setUp(self):
        super().setUp()
        pytest.importorskip("sphinx")
        module = load(DOCS / "extensions" / "markdown_docstrings.py")
        self.convert = module.to_restructured_text

    def test_code_links_and_headings(self):
        self.assertEqual(
            self.convert(
                "Takes `a b`\nand `keras_lip.layers.MaxMin`.\n\nExample:\n\n"
                ">>> 1\n1\n\nReference:\n\n- [A et\n  al.](https://a.org)"
            ),
            "Takes ``a b``\nand :py:obj:`keras_lip.layers.MaxMin`.\n\n"
            ".. rubric:: Example\n\n>>> 1\n1\n\n.. rubric:: Reference\n\n"
            "- `A et al. <https://a.org>`__",
        )

    def test_tables_and_blocks(self):
        self.assertEqual(
            self.convert("| a | b |\n|---|---|\n| `c` | d |\n"),
            ".. list-table::\n   :header-rows: 1\n\n   * - a\n     - b\n"
            "   * - ``c``\n     - d\n",
        )
        self.assertEqual(
            self.convert("```python\na = 1\n```"),
            ".. code-block:: python\n\n    a = 1\n",
        )


class ModelCardsTest(LipschitzTestCase):
    def test_card_says_what_is_certified(self):
        write = load(DOCS / "extensions" / "model_cards.py").write_card
        folder = pathlib.Path(published_weights.__file__).with_name("weights")
        entry = applications.list_weights("FullyConnected3")[0]
        card = write(entry, folder)
        self.assertIn('# `FullyConnected3(weights="mnist")`', card)
        self.assertIn("| 1.58 | 52.17% | 59.0% |", card)
        self.assertIn(f"`{entry.sha256}`", card)
        self.assertIn("| UnitNormDense | 1.297014 | singular values |", card)
        for entry in applications.list_weights():
            found = re.findall(
                r"^\| [\d.]+ \| ([\d.]+)% \| ([\d.]+)% \|$",
                write(entry, folder),
                re.MULTILINE,
            )
            self.assertLen(found, len(entry.certified_accuracy), entry.name)


class FiguresTest(LipschitzTestCase):
    def test_figure_of_the_quick_start_is_drawn_from_its_numbers(self):
        results = json.loads((DOCS / "data" / "quickstart.json").read_text())
        path = self.temporary_path("figure.png")
        load(DOCS / "figures" / "quickstart.py").draw(results, path)
        self.assertEqual(path.read_bytes()[:4], b"\x89PNG")
        # No attack may fall below the certified accuracy.
        certified = {
            row["epsilon"]: row["accuracy"]
            for row in results["certified_accuracy"]
        }
        attacked = {
            row["epsilon"]: row["accuracy"]
            for row in results["attacks"]
            if row["attack"] == "attacked"
        }
        self.assertEqual(certified.keys(), attacked.keys())
        for epsilon, accuracy in attacked.items():
            self.assertGreaterEqual(accuracy, certified[epsilon])
