"""Arguments that all searches have."""

import argparse
import pathlib

from keras_lip.validation import check_known
from keras_lip.validation import check_number
from keras_lip.validation import check_positive_integer


def add_arguments(
    parser: argparse.ArgumentParser, trials: int, epochs: int
) -> None:
    """Adds the arguments.

    Args:
        parser: The parser of the command line.
        trials: Positive integer. Default number of trials.
        epochs: Positive integer. Default number of epochs of a trial.
    """
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--model", default="mlp")
    parser.add_argument(
        "--epsilon", type=float, default=0.3, help="radius, in the l2 norm"
    )
    parser.add_argument("--trials", type=int, default=trials)
    parser.add_argument("--epochs", type=int, default=epochs)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument(
        "--refit-epochs",
        type=int,
        help="epochs of the best model; six times those of a trial",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--project", type=pathlib.Path, help="folder of the search"
    )


def check_arguments(arguments: argparse.Namespace, method: str) -> None:
    """Refuses arguments that are out of range, and fills in defaults.

    Args:
        arguments: The arguments of `add_arguments`.
        method: String. Name of the method of the search, for its folder.
    """
    from tuning.data import DATASETS
    from tuning.hyper_models import MODELS

    check_known("dataset", arguments.dataset, DATASETS)
    check_known("model", arguments.model, MODELS)
    check_number("epsilon", arguments.epsilon, 0.0, open_low=True)
    for name in ("trials", "epochs", "batch_size"):
        check_positive_integer(name, getattr(arguments, name))
    check_number("seed", arguments.seed, 0)
    arguments.refit_epochs = check_positive_integer(
        "refit_epochs", arguments.refit_epochs or 6 * arguments.epochs
    )
    if arguments.project is None:
        name = f"{arguments.dataset}_{arguments.model}_{method}"
        arguments.project = pathlib.Path("tuning_results") / name
