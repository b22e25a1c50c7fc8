"""The tuner of the search command."""

import pathlib
import time
from typing import Any

import keras
import keras_tuner
import numpy as np

from keras_lip.files import replace_file
from keras_lip.files import write_json
from tuning.heartbeat import Heartbeat


class LipschitzTuner(keras_tuner.Tuner):
    """Runs the trials of any oracle so that they can be interrupted.

    A trial has a seed of its own, whichever process runs it. Its weights are
    written when its training is over, whole or not at all. A worker tells the
    chief that it lives while it trains.

    Args:
        oracle: A `DurableOracle`.
        hypermodel: A `BaseHyperModel`.
        seed: Integer, at least zero.
        heartbeat: Float. Seconds between two signs of life of a worker.
        **kwargs: Those of `keras_tuner.Tuner`.
    """

    def __init__(
        self,
        oracle: Any,
        hypermodel: Any,
        seed: int = 0,
        heartbeat: float = 10.0,
        **kwargs: Any,
    ) -> None:
        self.seed = seed
        self.heartbeat = heartbeat
        self._asked = False
        super().__init__(oracle, hypermodel, **kwargs)

    def run_trial(
        self, trial: Any, *args: Any, **kwargs: Any
    ) -> dict[str, float]:
        keras.backend.clear_session()
        keras.utils.set_random_seed(self.seed + int(trial.trial_id))
        if not self._is_worker():
            return self._train(trial, *args, **kwargs)
        with Heartbeat(
            lambda: self.oracle.get_trial(trial.trial_id), self.heartbeat
        ):
            return self._train(trial, *args, **kwargs)

    def load_model(self, trial: Any) -> keras.Model:
        model = self.hypermodel.build(trial.hyperparameters)
        with np.load(self._weights_path(trial.trial_id)) as arrays:
            model.set_weights(list(arrays.values()))
        return model

    def save(self) -> None:
        if not self._is_worker():
            self.oracle.save()
        write_json(self._get_tuner_fname(), self.get_state())

    def on_search_begin(self) -> None:
        # A search is taken up again if this file is there.
        self.save()

    def pre_create_trial(self) -> None:
        # Asked for a trial, the oracle had none, and is asked again at once.
        if self._asked:
            time.sleep(1.0)
        self._asked = True

    def on_trial_begin(self, trial: Any) -> None:
        self._asked = False
        super().on_trial_begin(trial)

    def on_trial_end(self, trial: Any) -> None:
        if trial.message:
            print(trial.message, flush=True)
        super().on_trial_end(trial)

    def _train(self, trial: Any, *args: Any, **kwargs: Any) -> dict[str, float]:
        values = trial.hyperparameters.values
        if "tuner/epochs" in values:
            # Hyperband trains the best models on, from where they stopped.
            kwargs["epochs"] = values["tuner/epochs"]
            kwargs["initial_epoch"] = values["tuner/initial_epoch"]
        if "tuner/trial_id" in values:
            earlier = self.oracle.get_trial(values["tuner/trial_id"])
            model = self.load_model(earlier)
        else:
            model = self.hypermodel.build(trial.hyperparameters)
        metrics = self.hypermodel.fit(
            trial.hyperparameters, model, *args, **kwargs
        )
        path = self._weights_path(trial.trial_id)
        # Keras's own files hold the optimizer, which each training makes anew.
        weights = model.get_weights()
        replace_file(path, lambda partial: np.savez(partial, *weights))
        return metrics

    def _weights_path(self, trial_id: str) -> pathlib.Path:
        return pathlib.Path(self.get_trial_dir(trial_id)) / "weights.npz"

    def _populate_initial_space(self) -> None:
        # That of keras-tuner builds a model for each conditional scope to find
        # the parameters; ours are declared by one call.
        space = self.oracle.get_space()
        self.hypermodel.declare_hyperparameters(space)
        self.oracle.update_space(space)

    def _get_tuner_fname(self) -> str:
        # Whoever leads a search takes it up, alone or with workers.
        name = f"worker_{self.tuner_id}" if self._is_worker() else "tuner"
        return str(pathlib.Path(self.project_dir) / f"{name}.json")
