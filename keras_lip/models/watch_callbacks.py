"""Callbacks that begin and end the watches of an evaluation."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_lip.models.evaluation_watch import EvaluationWatch
from keras_lip.models.surround import acts_on_batches
from keras_lip.models.surround import surround


class WatchBegin(keras.callbacks.Callback):
    """Begins a watch, after all other callbacks have run."""

    def __init__(self, watch: EvaluationWatch, others: Sequence[Any]) -> None:
        super().__init__()
        self.watch = watch
        self._every_batch = any(map(acts_on_batches, others))

    def on_train_begin(self, logs: Any = None) -> None:
        self.watch.begin()

    def on_test_begin(self, logs: Any = None) -> None:
        self.watch.begin()

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        if self._every_batch:
            if hasattr(self.model, "jax_state_sync"):
                self.model.jax_state_sync()
            self.watch.check_version()


class WatchEnd(keras.callbacks.Callback):
    """Ends a watch, before any other callback runs."""

    def __init__(self, watch: EvaluationWatch) -> None:
        super().__init__()
        self.watch = watch

    def on_test_end(self, logs: Any = None) -> None:
        self.watch.end()


def add_watches(watches: Sequence[EvaluationWatch], callbacks: Any) -> Any:
    """Adds the callbacks of watches before and after the given callbacks."""
    if not watches:
        return callbacks
    return surround(
        callbacks,
        before=[WatchEnd(watch) for watch in watches],
        after=lambda others: [WatchBegin(watch, others) for watch in watches],
    )
