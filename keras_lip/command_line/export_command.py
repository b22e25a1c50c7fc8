"""The command `export`."""

import argparse
import pathlib

from keras_lip.command_line.read_files import read_model
from keras_lip.command_line.result import Result
from keras_lip.models import export
from keras_lip.models.exporting.formats import FORMATS
from keras_lip.models.exporting.target import certificate_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("model", type=pathlib.Path, help="a .keras file")
    parser.add_argument("path", type=pathlib.Path, help="what to write")
    parser.add_argument(
        "--format",
        choices=sorted(FORMATS),
        help="by default the one that the suffix of the path stands for",
    )
    parser.add_argument(
        "--logit-tolerance",
        type=float,
        default=2.0**-18,
        help="assumed relative error of the logits where the model will run",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace an exported model"
    )


def run(arguments: argparse.Namespace) -> Result:
    """Writes a model that returns certified radii with its outputs."""
    name = arguments.format or find_format(arguments.path)
    path = export(
        read_model(arguments.model),
        arguments.path,
        name,
        logit_tolerance=arguments.logit_tolerance,
        overwrite=arguments.overwrite,
    )
    certificate = certificate_path(path, name)
    return Result(
        f"Written: {path} ({name}), with the certificate {certificate}",
        {
            "path": str(path),
            "format": name,
            "certificate": str(certificate),
        },
    )


def find_format(path: pathlib.Path) -> str:
    """Returns the format that the suffix of a path stands for.

    Raises:
        ValueError: If there is none.
    """
    suffixes = {each.suffix: name for name, each in FORMATS.items()}
    if path.suffix not in suffixes:
        known = ", ".join(sorted(filter(None, suffixes)))
        raise ValueError(
            f"The suffix of the path must be {known}, or none for a "
            f"SavedModel; or pass --format. Received: {str(path)!r}"
        )
    return suffixes[path.suffix]
