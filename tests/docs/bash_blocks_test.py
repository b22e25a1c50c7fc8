"""Checks that the commands of the site and of the README would start.

They are not run: their files and targets must exist, and their options must be
accepted.
"""

import argparse
import contextlib
import io
import re
import runpy
import shlex
import sys
import tomllib
from unittest import mock

import pytest
from absl.testing import parameterized

from tests.docs.code_blocks_test import PAGES
from tests.docs.code_blocks_test import ROOT
from tests.lipschitz_test_case import LipschitzTestCase
from tests.marks import on_pytorch_alone

pytestmark = [on_pytorch_alone, pytest.mark.slow]

BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LOOP = re.compile(r"\bfor (\w+) in (\S+).*; do$")
ASSIGNMENT = re.compile(r"\w+=.*")
# Pages of the repository beside those of the site.
OTHERS = ("CONTRIBUTING.md", "tuning/README.md")
# What the commands of a shell need no check for.
OF_THE_SHELL = {"done", "export", "for", "wait"}
# The scripts that receive ARGS of `make TARGET ARGS=...`.
TAKES_ARGUMENTS = {
    "quickstart": "examples/quickstart.py",
    "race": "benchmarks/race.py",
    "speedrun": "experiments/speedrun.py",
}


def find_commands(text):
    """Returns the commands of the bash blocks of a page, as lists of words."""
    commands = []
    for block in BLOCK.findall(text):
        values = {}
        for line in block.replace("\\\n", " ").splitlines():
            loop = LOOP.search(line)
            if loop:
                # One round of a loop stands for all.
                values[loop[1]] = loop[2]
            for name, value in values.items():
                line = line.replace(f"${name}", value)
            words = shlex.split(line, comments=True)
            while words and ASSIGNMENT.fullmatch(words[0]):
                words.pop(0)
            if words:
                commands.append([word for word in words if word != "&"])
    return commands


def read_pages():
    others = {
        name: (ROOT / name).read_text("utf-8")
        for name in OTHERS
        if (ROOT / name).exists()
    }
    return {**PAGES, **others}


COMMANDS = {
    f"{name}: {shlex.join(command)}": command
    for name, text in read_pages().items()
    for command in find_commands(text)
    if command[0] not in OF_THE_SHELL
}


class Accepted(BaseException):
    """Raised when a parser has accepted its arguments."""


@contextlib.contextmanager
def stop_after_parsing():
    """Makes parsers raise `Accepted` instead of returning arguments."""
    parser = argparse.ArgumentParser
    parse_known_args = parser.parse_known_args
    parse_args = parser.parse_args

    def parse_known_and_stop(self, *args, **kwargs):
        parse_known_args(self, *args, **kwargs)
        raise Accepted

    def parse_and_stop(self, *args, **kwargs):
        with mock.patch.object(parser, "parse_known_args", parse_known_args):
            parse_args(self, *args, **kwargs)
        raise Accepted

    with (
        mock.patch.object(parser, "parse_known_args", parse_known_and_stop),
        mock.patch.object(parser, "parse_args", parse_and_stop),
    ):
        yield


def start(run, arguments, folder):
    """Runs a script until its parser has read the arguments.

    Args:
        run: Function that runs the script.
        arguments: List of strings, the first of which is the script.
        folder: Path of the folder that the script imports from.

    Raises:
        ValueError: If the parser refuses the arguments.
    """
    said = io.StringIO()
    with (
        stop_after_parsing(),
        mock.patch.object(sys, "argv", arguments),
        mock.patch.object(sys, "path", [str(folder), *sys.path]),
        contextlib.redirect_stderr(said),
    ):
        try:
            run()
        except Accepted:
            return
        except SystemExit as error:
            raise ValueError(said.getvalue()) from error
    raise ValueError(f"{arguments[0]} has parsed no arguments.")


def run_module(name):
    """Runs a module as `python -m` does."""
    # `runpy` warns of a module that another test has imported.
    imported = sys.modules.pop(name, None)
    try:
        runpy.run_module(name, run_name="__main__")
    finally:
        if imported is not None:
            sys.modules[name] = imported


def check_python(words):
    """Starts `python FILE ...` or `python -m MODULE ...`."""
    if words[0] == "-m":
        name, *arguments = words[1:]
        start(
            lambda: run_module(name),
            [name, *arguments],
            ROOT,
        )
        return
    path = ROOT / words[0]
    start(
        lambda: runpy.run_path(str(path), run_name="__main__"),
        words,
        path.parent,
    )


def check_make(words):
    """Looks for the targets of `make TARGET ...` in the Makefile."""
    targets = re.findall(
        r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE
    )
    for word in words:
        if "=" in word:
            name, value = word.split("=", 1)
            if name == "ARGS":
                check_python([TAKES_ARGUMENTS[words[0]], *shlex.split(value)])
        elif word not in targets:
            raise ValueError(f"The Makefile has no target {word!r}.")


def check_pip(words):
    """Looks for the extras of `pip install "keras-lip[...]"`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (extras,) = re.findall(r"^keras-lip\[([\w,-]+)\]$", words[-1])
    unknown = set(extras.split(",")) - {*project["optional-dependencies"]}
    if words[0] != "install" or unknown:
        raise ValueError(f"There are no extras {sorted(unknown)}.")


def check_torchrun(words):
    """Starts the script of `torchrun OPTIONS FILE ...`."""
    (place,) = (i for i, word in enumerate(words) if word.endswith(".py"))
    check_python(words[place:])


CHECKS = {
    "make": check_make,
    "pip": check_pip,
    "python": check_python,
    "torchrun": check_torchrun,
}


class BashBlocksTest(LipschitzTestCase):
    @parameterized.named_parameters(COMMANDS.items())
    def test_command_would_start(self, command):
        self.assertIn(command[0], CHECKS)
        CHECKS[command[0]](command[1:])

    def test_commands_are_found(self):
        text = (
            "```bash\nA=1 B=2 python a.py \\\n    --c  # d\n"
            "for n in 5 10; do\n    make f-$n &\ndone\n```\n"
        )
        self.assertEqual(
            find_commands(text),
            [
                ["python", "a.py", "--c"],
                ["for", "n", "in", "5", "10;", "do"],
                ["make", "f-5"],
                ["done"],
            ],
        )

    def test_mistakes_are_noticed(self):
        for command, message in (
            ("python -m keras_lip audit a.keras --spead", "unrecognized"),
            ("python -m keras_lip audits a.keras", "invalid choice"),
            ("make speedruns", "no target"),
            ('pip install "keras-lip[torches]"', "no extras"),
        ):
            name, *words = shlex.split(command)
            with self.assertRaisesRegex(ValueError, message):
                CHECKS[name](words)
        with self.assertRaises(FileNotFoundError):
            check_python(["experiments/trains.py"])
