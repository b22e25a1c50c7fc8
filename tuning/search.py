"""Searches for the network that certifies best.

    python -m tuning.search --dataset digits
    python -m tuning.search --dataset mnist --model convnet --tuner hyperband

The same command goes on with a search that was interrupted.
"""

import argparse
import os
import sys
from typing import Any

from keras_lip.validation import check_known
from keras_lip.validation import check_number
from tuning.arguments import add_arguments
from tuning.arguments import check_arguments


def search(arguments: argparse.Namespace) -> int:
    """Runs a search, and reports on it.

    Args:
        arguments: What `parse_arguments` returned.

    Returns:
        Integer. The status to exit with: zero if a model was found.

    Raises:
        ValueError: If an argument is out of range, or the project is that of
            another search.
    """
    from tuning.data import load_data
    from tuning.hyper_models import make_hyper_model
    from tuning.lipschitz_tuner import LipschitzTuner
    from tuning.make_oracle import TUNERS
    from tuning.make_oracle import make_oracle
    from tuning.project import open_project
    from tuning.report_search import report_search
    from tuning.watch_workers import watch_workers

    # Before anything is loaded.
    check_known("tuner", arguments.tuner, TUNERS)
    check_number("worker_timeout", arguments.worker_timeout, 1.0)
    check_arguments(arguments, arguments.tuner)
    data = load_data(arguments.dataset, arguments.seed)
    hypermodel = make_hyper_model(
        arguments.model, data.input_shape, data.classes, arguments.epsilon
    )
    oracle = make_oracle(
        arguments.tuner, arguments.trials, arguments.epochs, arguments.seed
    )
    project = arguments.project
    open_project(project, _settings(arguments))
    tuner = LipschitzTuner(
        oracle,
        hypermodel,
        seed=arguments.seed,
        heartbeat=arguments.worker_timeout / 6,
        directory=project.parent,
        project_name=project.name,
    )
    together = "KERASTUNER_ORACLE_IP" in os.environ
    chief = "chief" in os.environ.get("KERASTUNER_TUNER_ID", "")
    if together and chief:
        watch_workers(oracle, arguments.worker_timeout)
    tuner.search(
        data.x_train,
        data.y_train,
        validation_data=(data.x_val, data.y_val),
        epochs=arguments.epochs,
        batch_size=arguments.batch_size,
        verbose=0,
    )
    if together and not chief:
        return 0
    return report_search(
        arguments, data, hypermodel, list(oracle.trials.values())
    )


def _settings(arguments: argparse.Namespace) -> dict[str, Any]:
    # More trials may be asked for later on.
    names = ("dataset", "model", "tuner", "epsilon", "epochs", "batch_size")
    settings = {name: getattr(arguments, name) for name in names}
    return {**settings, "seed": arguments.seed}


def parse_arguments(command: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tuning.search",
        description="Search for the network that certifies best.",
    )
    add_arguments(parser, trials=10, epochs=30)
    parser.add_argument("--tuner", default="random")
    parser.add_argument(
        "--worker-timeout",
        type=float,
        default=60.0,
        help="seconds after which the chief gives up on a silent worker",
    )
    return parser.parse_args(command)


def main(command: list[str] | None = None) -> int:
    """Runs the command, with errors as one line."""
    from tuning.run_command import run_command

    return run_command(
        lambda: search(parse_arguments(command)), "tuning.search"
    )


if __name__ == "__main__":
    sys.exit(main())
