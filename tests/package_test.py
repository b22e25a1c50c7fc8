import contextlib
import importlib.metadata
import io
import os
import pathlib
import re
import shutil
import tomllib
import zipfile

import pytest
from setuptools import build_meta

import keras_lip
from tests.lipschitz_test_case import LipschitzTestCase
from tests.marks import on_pytorch_alone

pytestmark = on_pytorch_alone

ROOT = pathlib.Path(__file__).parents[1]
PROJECT = ROOT / "pyproject.toml"


class PackageTest(LipschitzTestCase):
    def test_citation_has_the_version(self):
        citation = ROOT / "CITATION.cff"
        if not citation.exists():
            self.skipTest("The tests run beside an installed wheel.")
        self.assertIn(
            f"\nversion: {keras_lip.__version__}\n", citation.read_text()
        )

    def test_extras_of_the_readme_exist(self):
        project = tomllib.loads(PROJECT.read_text())["project"]
        extras = project["optional-dependencies"]
        text = (ROOT / "README.md").read_text()
        named = re.findall(r"keras-lip\[([\w,-]+)\]", text)
        self.assertNotEmpty(named)
        for name in ",".join(named).split(","):
            self.assertIn(name, extras)

    @pytest.mark.slow
    def test_wheel_contains_the_library_alone(self):
        if not (ROOT / "keras_lip").exists():
            self.skipTest("The tests run beside an installed wheel.")
        sources = self.temporary_path("sources")
        sources.mkdir()
        for name in ("keras_lip", "tests", "tuning"):
            shutil.copytree(
                ROOT / name,
                sources / name,
                ignore=shutil.ignore_patterns("__pycache__"),
            )
        for name in ("LICENSE", "README.md", "pyproject.toml"):
            shutil.copy(ROOT / name, sources / name)
        wheels = self.temporary_path("wheels")
        wheels.mkdir()
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(sources)
        with contextlib.redirect_stdout(io.StringIO()):
            name = build_meta.build_wheel(str(wheels))
        self.assertEqual(
            name, f"keras_lip-{keras_lip.__version__}-py3-none-any.whl"
        )
        with zipfile.ZipFile(wheels / name) as wheel:
            files = set(wheel.namelist())
        tops = {file.split("/")[0] for file in files}
        info = f"keras_lip-{keras_lip.__version__}.dist-info"
        self.assertEqual(tops, {"keras_lip", info})
        # Everything beside code that the library reads.
        package = ROOT / "keras_lip"
        wanted = {
            f"keras_lip/{path.relative_to(package).as_posix()}"
            for path in package.rglob("*")
            if path.is_file() and path.suffix != ".pyc"
        }
        self.assertEqual(wanted - files, set())

    def test_metadata_of_an_installed_package_has_the_version(self):
        try:
            version = importlib.metadata.version("keras-lip")
        except importlib.metadata.PackageNotFoundError:
            self.skipTest("keras-lip is not installed.")
        self.assertEqual(version, keras_lip.__version__)
