"""Sweeps what trades accuracy for robustness, and draws the front.

    python -m tuning.pareto --dataset digits
    python -m tuning.pareto --project tuning_results/digits_mlp_random

The temperature of the crossentropy, and the alpha of the HKR loss, decide which
of two networks of the same layers certifies far and which one errs rarely
(Béthune et al., 2022). All else is as the defaults of the space have it, or as
in the best trial of a search.
"""

import argparse
import json
import pathlib
import sys
from typing import Any

from keras_lip.files import write_text
from keras_lip.validation import check_known
from keras_lip.validation import check_number
from keras_lip.validation import check_positive_integer

TEMPERATURES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 64.0, 256.0)
ALPHAS = (0.5, 1.0, 2.0, 5.0, 20.0, 100.0)


def sweep(arguments: argparse.Namespace) -> int:
    """Trains a network for each value, and draws what came of it.

    Args:
        arguments: What `parse_arguments` returned.

    Returns:
        Integer. The status to exit with: zero if a network was trained.

    Raises:
        ValueError: If an argument is out of range.
    """
    from tuning.data import load_data
    from tuning.hyper_models import make_hyper_model
    from tuning.plot_pareto_front import plot_pareto_front
    from tuning.trial_table import format_csv

    check_arguments(arguments)
    data = load_data(arguments.dataset, arguments.seed)
    hypermodel = make_hyper_model(
        arguments.model, data.input_shape, data.classes, arguments.epsilon
    )
    points: list[dict[str, Any]] = [
        {"loss": "crossentropy", "temperature": value}
        for value in arguments.temperatures
    ]
    points += [{"loss": "hkr", "alpha": value} for value in arguments.alphas]
    rows = []
    for number, point in enumerate(points):
        row = {"trial": number + 1, **point}
        row |= _measure(arguments, data, hypermodel, point)
        print(" ".join(f"{k}={v}" for k, v in row.items()), flush=True)
        rows.append(row)
    arguments.output.mkdir(parents=True, exist_ok=True)
    write_text(arguments.output / "pareto.csv", format_csv(rows))
    completed = [row for row in rows if row["status"] == "COMPLETED"]
    if not completed:
        print("No network could be trained.", file=sys.stderr)
        return 1
    picture = arguments.output / "pareto.png"
    plot_pareto_front(completed, arguments.epsilon, picture)
    print(f"Written to {arguments.output}/: pareto.csv, pareto.png")
    return 0


def _measure(
    arguments: argparse.Namespace,
    data: Any,
    hypermodel: Any,
    point: dict[str, Any],
) -> dict[str, Any]:
    import keras
    import keras_tuner

    from tuning.trial_table import METRICS

    keras.backend.clear_session()
    keras.utils.set_random_seed(arguments.seed)
    parameters = keras_tuner.HyperParameters()
    parameters.values = {**_best_values(arguments.project), **point}
    try:
        metrics = hypermodel.fit(
            parameters,
            hypermodel.build(parameters),
            data.x_train,
            data.y_train,
            validation_data=(data.x_val, data.y_val),
            epochs=arguments.epochs,
        )
    except keras_tuner.errors.FailedTrialError as error:
        return {"status": "FAILED", "failure": str(error)}
    measured = {column: metrics[name] for column, name in METRICS.items()}
    return {"status": "COMPLETED", **measured}


def _best_values(project: pathlib.Path | None) -> dict[str, Any]:
    if project is None:
        return {}
    values = json.loads((project / "best_hyperparameters.json").read_text())
    # Loss, temperature and alpha are swept.
    swept = ("loss", "temperature", "alpha")
    return {name: values[name] for name in values if name not in swept}


def check_arguments(arguments: argparse.Namespace) -> None:
    """Refuses arguments that are out of range, before anything is loaded."""
    from tuning.data import DATASETS
    from tuning.hyper_models import MODELS

    if arguments.project is not None:
        _take_settings(arguments)
    check_known("dataset", arguments.dataset, DATASETS)
    check_known("model", arguments.model, MODELS)
    check_number("epsilon", arguments.epsilon, 0.0, open_low=True)
    check_positive_integer("epochs", arguments.epochs)
    for name in ("temperatures", "alphas"):
        for value in getattr(arguments, name):
            check_number(name, value, 0.0, open_low=True)
    if not [*arguments.temperatures, *arguments.alphas]:
        raise ValueError(
            "There is nothing to sweep. Pass some `--temperatures` or some "
            "`--alphas`."
        )


def _take_settings(arguments: argparse.Namespace) -> None:
    path = arguments.project / "settings.json"
    if not (arguments.project / "best_hyperparameters.json").exists():
        raise ValueError(
            f"No search has ended at {str(arguments.project)!r}: there is no "
            "best_hyperparameters.json. Pass the `--project` of one that has."
        )
    settings = json.loads(path.read_text("utf-8"))
    for name in ("dataset", "model", "epsilon"):
        setattr(arguments, name, settings[name])


def parse_arguments(command: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tuning.pareto",
        description="Sweep what trades accuracy for robustness.",
    )
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--model", default="mlp")
    parser.add_argument("--epsilon", type=float, default=0.3)
    parser.add_argument(
        "--project",
        type=pathlib.Path,
        help="folder of a search, whose best trial and settings are taken",
    )
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--temperatures", type=float, nargs="*", default=TEMPERATURES
    )
    parser.add_argument("--alphas", type=float, nargs="*", default=ALPHAS)
    parser.add_argument(
        "--output", type=pathlib.Path, default=pathlib.Path("pareto")
    )
    return parser.parse_args(command)


def main(command: list[str] | None = None) -> int:
    """Runs the command, with errors as one line."""
    from tuning.run_command import run_command

    return run_command(lambda: sweep(parse_arguments(command)), "tuning.pareto")


if __name__ == "__main__":
    sys.exit(main())
