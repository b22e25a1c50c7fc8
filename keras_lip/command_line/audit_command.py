"""The command `audit`."""

import argparse
import pathlib

from keras_lip.certificates import audit
from keras_lip.certificates.reports.audit_report import check_audit_path
from keras_lip.command_line.read_files import read_model
from keras_lip.command_line.result import Result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("model", type=pathlib.Path, help="a .keras file")
    parser.add_argument(
        "--norm",
        choices=("l2", "linf"),
        help="norm of the bounds; by default the one that all layers have",
    )
    parser.add_argument(
        "--steps",
        type=int,
        default=10,
        help="optimization steps of each estimate, or 0 for no estimates",
    )
    parser.add_argument(
        "--input-shape",
        type=int,
        nargs="+",
        metavar="SIZE",
        help="shape of one input, for a model with unknown sizes",
    )
    parser.add_argument(
        "--output", type=pathlib.Path, help="a .json file to write the audit to"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace an existing file"
    )


def run(arguments: argparse.Namespace) -> Result:
    """Proves a bound for every layer of a model."""
    path = arguments.output
    if path is not None:
        check_audit_path(path, arguments.overwrite)
    report = audit(
        read_model(arguments.model),
        norm=arguments.norm,
        steps=arguments.steps or None,
        input_shape=arguments.input_shape,
        verbose=0 if arguments.json else "auto",
    )
    return Result(
        str(report),
        report.to_dict(),
        path and (lambda: report.save(path, arguments.overwrite)),
    )
