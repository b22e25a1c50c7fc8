"""What the oracles of a search share: nothing that was finished is lost."""

import time
from typing import Any

import keras_tuner

from keras_lip.files import write_json
from tuning.trial_lines import describe_end
from tuning.trial_lines import describe_start

_RUNNING, _IDLE, _STOPPED = "RUNNING", "IDLE", "STOPPED"
FINISHED = ("COMPLETED", "FAILED")


class DurableOracle(keras_tuner.Oracle):
    """An oracle that survives its own end, and that of workers.

    It goes before one of keras-tuner's oracles among the bases of a class.

    Keras-tuner's oracles lose what a search has done in three ways, which this
    class closes.

    - A kill while a state is written leaves half a file, and the search cannot
      be resumed. Here a file is written whole or not at all. A kill between two
      files leaves a trial that one of them does not know of: after a reload,
      the trials' own files say which are finished, and the rest run again.
    - A worker that dies keeps its trial, and the chief waits for it for ever.
      Here a worker is heard from whenever it calls, and `release_silent` gives
      the trial of a worker that was silent for too long to the next that asks.
      Nobody is told that the search is over as long as a trial runs, since its
      worker may die. A worker that was given up too early may still report its
      result: the first result of a trial counts.
    - A search ends with an error at the third failure in a row, and never gives
      back a lock it holds then. Here failures are recorded, as many as come.

    The first trial of a search has the defaults of the space.

    Args:
        **kwargs: Those of the oracle.
    """

    def __init__(self, **kwargs: Any) -> None:
        endless = 10**9
        super().__init__(max_consecutive_failed_trials=endless, **kwargs)
        self._heard: dict[str, float] = {}
        self._runners: dict[str, set[str]] = {}

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        if self.trials:
            return super().populate_space(trial_id)
        space = self.get_space()
        values = {
            parameter.name: parameter.default
            for parameter in space.space
            if space.is_active(parameter)
        }
        return {"status": _RUNNING, "values": values}

    @keras_tuner.synchronized
    def create_trial(self, tuner_id: str) -> Any:
        self._heard[tuner_id] = time.monotonic()
        trial = super().create_trial(tuner_id)
        if trial.status == _RUNNING:
            self._runners.setdefault(trial.trial_id, set()).add(tuner_id)
            print(describe_start(trial, self.max_trials), flush=True)
        if trial.status == _STOPPED and self.ongoing_trials:
            self.tuner_ids.add(tuner_id)
            trial.status = _IDLE
        return trial

    @keras_tuner.synchronized
    def update_trial(
        self, trial_id: str, metrics: dict[str, float], step: int = 0
    ) -> Any:
        self._hear(trial_id)
        if trial_id in self.end_order:
            return self.trials[trial_id]
        return super().update_trial(trial_id, metrics, step)

    @keras_tuner.synchronized
    def end_trial(self, trial: Any) -> None:
        self._hear(trial.trial_id)
        if trial.trial_id in self.end_order:
            return
        super().end_trial(trial)
        if trial.trial_id in self._retry_queue:
            self._retry_queue.remove(trial.trial_id)
            self.save()
        best = self.get_best_trials()
        ended = self.trials[trial.trial_id]
        print(describe_end(ended, best[0], self.objective.name), flush=True)

    def get_trial(self, trial_id: str) -> Any:
        self._hear(trial_id)
        return super().get_trial(trial_id)

    @keras_tuner.synchronized
    def release_silent(self, timeout: float) -> list[str]:
        """Takes the trials of silent workers back, to be run by others.

        Args:
            timeout: Float. Seconds of silence after which a worker is given up.

        Returns:
            List of the ids of the workers that were given up.
        """
        earliest = time.monotonic() - timeout
        silent = [
            tuner_id
            for tuner_id in sorted({*self.tuner_ids, *self.ongoing_trials})
            if self._heard.get(tuner_id, earliest) < earliest
        ]
        for tuner_id in silent:
            self.tuner_ids.discard(tuner_id)
            trial = self.ongoing_trials.pop(tuner_id, None)
            if trial is not None:
                self._runners[trial.trial_id].discard(tuner_id)
                self._queue(trial)
            print(
                f"worker {tuner_id!r} was silent for {timeout:g} s and is "
                "given up"
                + (
                    f", trial {int(trial.trial_id) + 1} goes on to another"
                    if trial
                    else ""
                ),
                flush=True,
            )
        if silent:
            self.save()
        return silent

    def reload(self) -> None:
        super().reload()
        self.ongoing_trials: dict[str, Any] = {}
        self._retry_queue: list[str] = []
        for _, trial in sorted(self.trials.items(), reverse=True):
            if trial.status not in FINISHED:
                self._queue(trial)
        for order in (self.start_order, self.end_order):
            order += [
                trial_id
                for trial_id, trial in sorted(self.trials.items())
                if trial_id not in order
                and (order is self.start_order or trial.status in FINISHED)
            ]

    def save(self) -> None:
        write_json(self._get_oracle_fname(), self.get_state())

    def _save_trial(self, trial: Any) -> None:
        folder = self._get_trial_dir(trial.trial_id)
        write_json(f"{folder}/trial.json", trial.get_state())

    def _queue(self, trial: Any) -> None:
        # What a run reported that did not come to its end is not to be mixed
        # with what the next one reports.
        trial.metrics = type(trial.metrics)()
        trial.status = _RUNNING
        self._retry_queue.append(trial.trial_id)

    def _hear(self, trial_id: str) -> None:
        for tuner_id in tuple(self._runners.get(trial_id, ())):
            self._heard[tuner_id] = time.monotonic()
