"""The command line."""

import argparse
import contextlib
import json
import sys
from collections.abc import Sequence
from types import ModuleType

from keras_lip.command_line import audit_command
from keras_lip.command_line import certify_command
from keras_lip.command_line import export_command
from keras_lip.command_line import info_command
from keras_lip.version import __version__

_COMMANDS: dict[str, tuple[ModuleType, str]] = {
    "info": (info_command, "describe a model, or what is installed"),
    "audit": (audit_command, "prove a bound for every layer of a model"),
    "certify": (certify_command, "prove a radius for every input of a file"),
    "export": (export_command, "write a model that returns certified radii"),
}

# Errors by which the library refuses something.
_REFUSALS = (ImportError, OSError, RuntimeError, ValueError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        arguments: Sequence of strings. Defaults to `None`, for those of the
            process.

    Returns:
        Integer. The status to exit with: 0, or 1 if something was refused, for
        the reason that is printed to standard error.

    Raises:
        SystemExit: With the status 2 if an option is wrong, and 0 for `--help`.
    """
    parsed = _make_parser().parse_args(arguments)
    try:
        # What backends print while they work is no result.
        with contextlib.redirect_stdout(sys.stderr):
            result = _COMMANDS[parsed.command][0].run(parsed)
        print(
            json.dumps(result.content, indent=2) if parsed.json else result.text
        )
        if result.write is not None:
            with contextlib.redirect_stdout(sys.stderr):
                result.write()
    except _REFUSALS as error:
        print(f"keras_lip {parsed.command}: {error}", file=sys.stderr)
        return 1
    return 0


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m keras_lip",
        description="Prove what a Keras model in a file guarantees.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (module, summary) in _COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        module.add_arguments(command)
        command.add_argument(
            "--json", action="store_true", help="print one JSON object"
        )
    return parser
