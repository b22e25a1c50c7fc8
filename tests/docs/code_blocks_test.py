"""Runs every block of Python code of the site and of the README."""

import contextlib
import functools
import importlib.util
import io
import os
import pathlib
import re
import sys
import tempfile
import types
from unittest import mock

import keras
import pytest
from absl.testing import parameterized
from matplotlib import pyplot

from tests.lipschitz_test_case import LipschitzTestCase
from tests.marks import on_pytorch_alone

pytestmark = [on_pytorch_alone, pytest.mark.slow]

ROOT = pathlib.Path(__file__).parents[2]
DOCS = ROOT / "docs"

# A block, and the comment before it that says why it cannot run; or a comment
# with code that a reader need not see.
BLOCK = re.compile(
    r"(?:<!-- test: skip, because (?P<reason>[^>]+) -->\n\n)?"
    r"^```python\n(?P<code>.*?)^```$"
    r"|^<!-- test: run\n(?P<hidden>.*?)^-->$",
    re.MULTILINE | re.DOTALL,
)


def find_blocks(text):
    """Returns the code and the reason to skip it, or `None`, of each block."""
    return [
        (
            match["hidden"] or match["code"],
            match["reason"] and " ".join(match["reason"].split()),
        )
        for match in BLOCK.finditer(text)
    ]


def find_pages():
    written = [
        path
        for path in sorted(DOCS.rglob("*.md"))
        if path.relative_to(DOCS).parts[0] not in ("_build", "generated")
    ]
    return [ROOT / "README.md", *written]


PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text("utf-8")
    for path in find_pages()
}
RUNNING = [
    name
    for name, text in PAGES.items()
    if any(reason is None for _, reason in find_blocks(text))
]
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.py"))


class ShortTraining(contextlib.ExitStack):
    """Trains for one epoch, in an empty folder, and closes figures."""

    def __enter__(self):
        super().__enter__()
        fit = keras.Model.fit

        # The models of this library read its signature.
        @functools.wraps(fit)
        def fit_once(model, *args, **kwargs):
            return fit(model, *args, **{**kwargs, "epochs": 1, "verbose": 0})

        self.enter_context(mock.patch.object(keras.Model, "fit", fit_once))
        folder = self.enter_context(tempfile.TemporaryDirectory())
        self.callback(os.chdir, os.getcwd())
        os.chdir(folder)
        self.callback(pyplot.close, "all")
        self.enter_context(contextlib.redirect_stdout(io.StringIO()))
        return self


class CodeBlocksTest(LipschitzTestCase):
    @parameterized.named_parameters((name, name) for name in RUNNING)
    def test_blocks_of_a_page_run_one_after_the_other(self, name):
        # Keras saves classes of a page by the name of their module.
        module = types.ModuleType("code_of_a_page")
        sys.modules[module.__name__] = module
        self.addCleanup(sys.modules.pop, module.__name__)
        is_new = name == "docs/guides/export_and_serve.md"
        with self.needs_newer_keras(when=is_new), ShortTraining():
            for number, (code, reason) in enumerate(find_blocks(PAGES[name])):
                if reason is None:
                    compiled = compile(code, f"{name}, block {number}", "exec")
                    exec(compiled, module.__dict__)

    @parameterized.named_parameters((path.stem, path) for path in NOTEBOOKS)
    def test_notebook_runs_as_a_script(self, path):
        spec = importlib.util.spec_from_file_location(path.stem, path)
        with ShortTraining():
            spec.loader.exec_module(importlib.util.module_from_spec(spec))

    def test_a_block_and_its_reason_are_found(self):
        text = (
            "```python\na = 1\n```\n\ntext\n\n"
            "<!-- test: skip, because it needs\na lion -->\n\n"
            "```python\nroar()\n```\n\n```bash\nls\n```\n"
            "<!-- test: run\nb = 2\n-->\n"
        )
        self.assertEqual(
            find_blocks(text),
            [
                ("a = 1\n", None),
                ("roar()\n", "it needs a lion"),
                ("b = 2\n", None),
            ],
        )

    def test_there_is_something_to_run(self):
        self.assertIn("README.md", RUNNING)
        self.assertGreater(len(RUNNING), 10)
        self.assertGreaterEqual(len(NOTEBOOKS), 2)
