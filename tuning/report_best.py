"""What comes of a search: the best model, and its report."""

import pathlib
from typing import Any

import keras
import numpy as np

import keras_lip as kl
from keras_lip.files import replace_file
from keras_lip.files import write_json
from tuning.data import Data


def train_best(
    hypermodel: Any,
    trial: Any,
    data: Data,
    epochs: int,
    batch_size: int,
    seed: int,
) -> keras.Model:
    """Trains the model of a trial anew, on the validation part as well.

    Args:
        hypermodel: A `BaseHyperModel`.
        trial: The trial, a `keras_tuner.engine.trial.Trial`.
        data: The `Data` of the search.
        epochs: Positive integer.
        batch_size: Positive integer.
        seed: Integer.

    Returns:
        The model, trained.
    """
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    model = hypermodel.build(trial.hyperparameters)
    hypermodel.fit(
        trial.hyperparameters,
        model,
        np.concatenate([data.x_train, data.x_val]),
        np.concatenate([data.y_train, data.y_val]),
        validation_data=(data.x_val, data.y_val),
        epochs=epochs,
        batch_size=batch_size,
    )
    return model


def report_best(
    model: keras.Model,
    trial: Any,
    data: Data,
    epsilon: float,
    path: pathlib.Path,
) -> Any:
    """Certifies a model on the held-out part, and writes it down.

    Args:
        model: The model.
        trial: The trial that it comes from.
        data: The `Data` of the search.
        epsilon: Float. Radius that was searched for.
        path: Folder to write `best.keras`, `best_hyperparameters.json` and
            `report.json`, `.html` and `.png` to.

    Returns:
        A `keras_lip.certificates.CertificationReport`.
    """
    radii = sorted({epsilon, epsilon / 2, 2 * epsilon})
    report = kl.certificates.certify(model, data.x_test, data.y_test, radii)
    replace_file(path / "best.keras", model.save)
    write_json(
        path / "best_hyperparameters.json", dict(trial.hyperparameters.values)
    )
    for suffix in ("json", "html", "png"):
        report.save(path / f"report.{suffix}", overwrite=True)
    return report
