"""The command `certify`."""

import argparse
import json
import pathlib

from keras_lip.certificates import certify
from keras_lip.certificates.reports.report_files import check_report_path
from keras_lip.command_line.read_files import read_data
from keras_lip.command_line.read_files import read_model
from keras_lip.command_line.result import Result
from keras_lip.validation import check_positive_integer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("model", type=pathlib.Path, help="a .keras file")
    parser.add_argument(
        "--data",
        type=pathlib.Path,
        required=True,
        help="an .npz file with the arrays x and y, or x_test and y_test",
    )
    parser.add_argument(
        "--epsilons",
        type=float,
        nargs="+",
        default=[36 / 255, 72 / 255, 108 / 255],
        metavar="RADIUS",
        help="radii to report; by default 36, 72 and 108 over 255",
    )
    parser.add_argument(
        "--norm",
        choices=("l2", "linf"),
        help="norm of the radii; by default the one that all layers have",
    )
    parser.add_argument(
        "--semantics",
        choices=("real", "float64", "float32"),
        default="real",
        help="what the radii speak of: the real-valued function, the default, "
        "or every execution in a precision",
    )
    parser.add_argument(
        "--abstain-below",
        type=float,
        default=0.0,
        metavar="MARGIN",
        help="do not answer if the margin is smaller",
    )
    parser.add_argument(
        "--samples", type=int, help="certify only the first samples"
    )
    parser.add_argument(
        "--batch-size", type=int, default=256, help="256 by default"
    )
    parser.add_argument(
        "--report",
        type=pathlib.Path,
        help="a .html, .json, .npz or .png file to write the report to",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace an existing report"
    )


def run(arguments: argparse.Namespace) -> Result:
    """Proves a radius for every input of a file."""
    path = arguments.report
    if path is not None:
        check_report_path(path, arguments.overwrite)
    number = arguments.samples
    if number is not None:
        number = check_positive_integer("samples", number)
    x, y = read_data(arguments.data)
    report = certify(
        read_model(arguments.model),
        x[:number],
        y[:number],
        epsilons=arguments.epsilons,
        batch_size=arguments.batch_size,
        norm=arguments.norm,
        abstain_below=arguments.abstain_below,
        semantics=arguments.semantics,
        verbose=0 if arguments.json else "auto",
    )
    return Result(
        str(report),
        json.loads(report.to_json()),
        path and (lambda: report.save(path, arguments.overwrite)),
    )
