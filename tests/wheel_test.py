"""Builds the packages, and runs the README's example in an empty environment.

A run downloads a backend, up to gigabytes, and so takes place on demand only:

    BACKEND=torch make wheel
"""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys

import keras
import pytest

import keras_lip
from tests.docs.code_blocks_test import PAGES
from tests.docs.code_blocks_test import ROOT
from tests.docs.code_blocks_test import find_blocks
from tests.lipschitz_test_case import LipschitzTestCase

pytestmark = [
    pytest.mark.slow,
    pytest.mark.wheel,
    pytest.mark.skipif(
        not os.environ.get("KERAS_LIP_TEST_WHEEL"),
        reason="Downloads a backend. KERAS_LIP_TEST_WHEEL=1 asks for it.",
    ),
]

# TensorFlow's build for CPUs is a package of its own.
EXTRAS = {"tensorflow": "tensorflow-cpu", "jax": "jax", "torch": "torch"}

WHERE = "import keras_lip; print(keras_lip.__version__, keras_lip.__file__)"


def run(*command, **kwargs):
    """Returns what a command prints, without the packages of this process."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    }
    done = subprocess.run(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**environment, **kwargs.pop("variables", {})},
        **kwargs,
    )
    if done.returncode:
        raise RuntimeError(f"{command} failed:\n{done.stdout}")
    return done.stdout


class WheelTest(LipschitzTestCase):
    def build(self):
        """Returns the paths of the sdist and of the wheel."""
        sources = self.temporary_path("sources")
        shutil.copytree(
            ROOT / "keras_lip",
            sources / "keras_lip",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        for name in ("LICENSE", "README.md", "pyproject.toml"):
            shutil.copy(ROOT / name, sources / name)
        built = self.temporary_path("built")
        path = {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
        run(
            *(sys.executable, "-m", "build", "--outdir", built, sources),
            variables=path,
        )
        files = sorted(built.iterdir())
        run(
            *(sys.executable, "-m", "twine", "check", "--strict", *files),
            variables=path,
        )
        return files

    def test_installed_wheel_runs_the_example_of_the_readme(self):
        wheel, sdist = self.build()
        version = keras_lip.__version__
        self.assertEqual(wheel.name, f"keras_lip-{version}-py3-none-any.whl")
        self.assertEqual(sdist.name, f"keras_lip-{version}.tar.gz")
        folder = self.temporary_path("environment")
        run(sys.executable, "-m", "venv", folder)
        python = folder / "bin" / "python"
        backend = keras.backend.backend()
        extra = EXTRAS[backend]
        # The release that runs this test. A local version such as `+cpu` is
        # the choice of the index.
        release = importlib.metadata.version(extra).split("+")[0]
        # The command of the README, for this backend.
        named = re.search(
            r'pip install "keras-lip\[(.+)\]"', PAGES["README.md"]
        )
        extras = named[1].replace("tensorflow", extra)
        run(
            *(python, "-m", "pip", "install", "--quiet"),
            *(f"{wheel}[{extras}]", f"{extra}=={release}"),
        )
        example, *_ = [
            code for code, reason in find_blocks(PAGES["README.md"]) if code
        ]
        (folder / "example.py").write_text(example)
        variables = {"KERAS_BACKEND": backend, "MPLBACKEND": "agg"}
        # Twice, since users do so.
        for _ in range(2):
            said = run(python, "example.py", cwd=folder, variables=variables)
        self.assertIn("Certified accuracy at 0.3", said)
        page = (folder / "report.html").read_text("utf-8")
        self.assertIn("<html", page)
        self.assertTrue((folder / "stock.keras").exists())
        found = run(python, "-c", WHERE, cwd=folder, variables=variables)
        self.assertIn(f"{version} {folder}", found)
