"""Searches on a Ray cluster, and stops trials that fall behind.

    python -m tuning.ray_search --dataset digits --trials 30 --epochs 27
    RAY_ADDRESS=auto python -m tuning.ray_search ...   # on a running cluster

The same command goes on with a search that was interrupted. It runs in a
checkout of the repository. The machines of a cluster need none: the package
`tuning` is sent to them. They need keras_lip with the extra `tuning`, and the
same backend.
"""

import argparse
import pathlib
import sys
from typing import Any

import keras

from tuning.arguments import add_arguments
from tuning.arguments import check_arguments

_REDUCTION = 3


def search(arguments: argparse.Namespace) -> int:
    """Runs a search, and reports on it.

    The trials have values drawn at random; the first has the defaults of the
    space. Asynchronous successive halving compares them after 1, 3, 9, ...
    epochs, and only the best third of those that came that far goes on. Only
    trials of all epochs are compared in the end.

    Args:
        arguments: The result of `parse_arguments`.

    Returns:
        Integer. The status to exit with: zero if a model was found.

    Raises:
        ValueError: If an argument is out of range, the project is that of
            another search, or there is no such cluster.
        ImportError: If Ray is not installed, or a worker cannot import what
            trials need.

    Reference:

    - [Li et al., 2020](https://arxiv.org/abs/1810.05934), algorithm 2
    """
    check_arguments(arguments, "ray")
    try:
        import ray
    except ImportError as error:
        raise ImportError(
            "This needs `ray`. Install the extra `ray`: "
            'pip install "keras-lip[ray]"'
        ) from error
    from tuning.data import load_data
    from tuning.project import open_project
    from tuning.ray_cluster import check_workers
    from tuning.ray_cluster import start_ray
    from tuning.report_search import report_search

    settings = read_settings(arguments)
    data = load_data(arguments.dataset, arguments.seed)
    hypermodel = make_family(settings, data)
    project = arguments.project.resolve()
    starts_ray = start_ray()
    try:
        check_workers()
        open_project(project, settings)
        results = _make_tuner(hypermodel, settings, project).fit()
        trials = [read_trial(hypermodel, each, settings) for each in results]
    finally:
        if starts_ray:
            ray.shutdown()
    return report_search(arguments, data, hypermodel, trials)


def read_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns all that a search depends on."""
    names = (
        "dataset",
        "model",
        "epsilon",
        "trials",
        "epochs",
        "batch_size",
        "seed",
    )
    return {name: getattr(arguments, name) for name in names}


def make_family(settings: dict[str, Any], data: Any) -> Any:
    """Makes the `BaseHyperModel` of a search."""
    from tuning.hyper_models import make_hyper_model

    return make_hyper_model(
        settings["model"], data.input_shape, data.classes, settings["epsilon"]
    )


def draw_values(hypermodel: Any, number: int, seed: int) -> dict[str, Any]:
    """Draws the values of a trial, or takes the defaults for the first.

    Args:
        hypermodel: A `BaseHyperModel`.
        number: Integer. The trial, from zero.
        seed: Integer. Seed of the search.

    Returns:
        Dict of values by name, of the parameters that apply.
    """
    import keras_tuner

    space = keras_tuner.HyperParameters()
    hypermodel.declare_hyperparameters(space)
    drawn = keras_tuner.HyperParameters()
    for index, parameter in enumerate(space.space):
        # A parameter comes after those that it depends on.
        drawn.merge([parameter])
        if drawn.is_active(parameter):
            drawn.values[parameter.name] = (
                parameter.random_sample(1000 * (1000 * seed + number) + index)
                if number
                else parameter.default
            )
    return {
        parameter.name: drawn.values[parameter.name]
        for parameter in drawn.space
        if drawn.is_active(parameter)
    }


def make_hyperparameters(hypermodel: Any, values: dict[str, Any]) -> Any:
    """Returns the `HyperParameters` of a family, with the values of a trial."""
    import keras_tuner

    hyperparameters = keras_tuner.HyperParameters()
    hyperparameters.values = dict(values)
    hypermodel.declare_hyperparameters(hyperparameters)
    return hyperparameters


class ReportAtRungs(keras.callbacks.Callback):
    """Certifies the model where trials are compared, and tells Ray.

    Args:
        certify: Function of the model that returns its metrics.
        epochs: Positive integer. Epochs of a trial.
        report: Function of a dict of metrics.
    """

    def __init__(self, certify: Any, epochs: int, report: Any) -> None:
        super().__init__()
        self.certify = certify
        self.report = report
        self.rungs = {epochs}
        rung = 1
        while rung < epochs:
            self.rungs.add(rung)
            rung *= _REDUCTION

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch + 1 in self.rungs:
            self.report({"epoch": epoch + 1, **self.certify(self.model)})


def train_trial(config: dict[str, Any], settings: dict[str, Any]) -> None:
    """Trains one trial, in a process of its own.

    Args:
        config: Dict with `trial`: its `number` and its `values`.
        settings: The result of `read_settings`.
    """
    from ray import tune

    from tuning.data import load_data

    trial = config["trial"]
    data = load_data(settings["dataset"], settings["seed"])
    hypermodel = make_family(settings, data)
    hyperparameters = make_hyperparameters(hypermodel, trial["values"])
    keras.utils.set_random_seed(settings["seed"] + trial["number"])
    model = hypermodel.build(hyperparameters)
    validation = data.x_val, data.y_val
    hypermodel.fit(
        hyperparameters,
        model,
        data.x_train,
        data.y_train,
        validation_data=validation,
        epochs=settings["epochs"],
        batch_size=settings["batch_size"],
        callbacks=[
            ReportAtRungs(
                lambda model: hypermodel.certify(model, *validation),
                settings["epochs"],
                tune.report,
            )
        ],
    )


def _name_folder(trial: Any) -> str:
    """Returns the name of the folder of a trial of Ray."""
    return f"trial_{trial.config['trial']['number'] + 1:04}"


def _make_tuner(
    hypermodel: Any, settings: dict[str, Any], project: pathlib.Path
) -> Any:
    """Makes a Ray tuner, or restores that of an interrupted search."""
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler

    from keras_lip.tuning.base_hyper_model import OBJECTIVE

    trainable = tune.with_parameters(train_trial, settings=settings)
    folder = project / "ray"
    if tune.Tuner.can_restore(str(folder)):
        # A trial that was interrupted runs again.
        return tune.Tuner.restore(
            str(folder), trainable, resume_unfinished=True
        )
    trials = [
        {
            "number": number,
            "values": draw_values(hypermodel, number, settings["seed"]),
        }
        for number in range(settings["trials"])
    ]
    return tune.Tuner(
        trainable,
        param_space={"trial": tune.grid_search(trials)},
        tune_config=tune.TuneConfig(
            trial_dirname_creator=_name_folder,
            scheduler=ASHAScheduler(
                time_attr="epoch",
                metric=OBJECTIVE,
                mode="max",
                max_t=settings["epochs"],
                grace_period=1,
                reduction_factor=_REDUCTION,
            ),
        ),
        run_config=tune.RunConfig(name="ray", storage_path=str(project)),
    )


def read_trial(hypermodel: Any, result: Any, settings: dict[str, Any]) -> Any:
    """Reads a result of Ray as a trial of keras-tuner.

    Args:
        hypermodel: A `BaseHyperModel`.
        result: A `ray.tune.Result`.
        settings: The result of `read_settings`.

    Returns:
        A `keras_tuner.engine.trial.Trial`: completed if it was trained for all
        epochs, stopped if it fell behind, or failed.
    """
    from keras_tuner.engine.trial import Trial

    from tuning.trial_table import METRICS

    chosen, found = result.config["trial"], result.metrics or {}
    status = "STOPPED"
    if result.error is not None:
        status = "FAILED"
    elif found.get("epoch") == settings["epochs"]:
        status = "COMPLETED"
    trial = Trial(
        make_hyperparameters(hypermodel, chosen["values"]),
        trial_id=str(chosen["number"]),
        status=status,
    )
    trial.message = None if result.error is None else str(result.error)
    for name in METRICS.values():
        if status == "COMPLETED":
            trial.metrics.register(name, "max")
            trial.metrics.update(name, found[name])
    return trial


def parse_arguments(command: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tuning.ray_search",
        description="Search on a Ray cluster for the network that certifies "
        "best.",
    )
    add_arguments(parser, trials=30, epochs=27)
    return parser.parse_args(command)


def main(command: list[str] | None = None) -> int:
    """Runs the command, with errors as one line."""
    from tuning.run_command import run_command

    return run_command(
        lambda: search(parse_arguments(command)), "tuning.ray_search"
    )


if __name__ == "__main__":
    sys.exit(main())
