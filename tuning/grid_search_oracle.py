"""Grid search that can be resumed."""

import functools
from typing import Any

from keras_tuner.oracles import GridSearchOracle

from tuning.durable_oracle import DurableOracle


class DurableGridSearchOracle(DurableOracle, GridSearchOracle):
    """Grid search over the values of every parameter, ten of a float.

    Keras-tuner keeps the order of the grid in memory alone, and a search that
    is resumed ends at once. Here it is made anew from the trials.
    """

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        # The grid begins with the defaults, and keeps account of it.
        return GridSearchOracle.populate_space(self, trial_id)

    def reload(self) -> None:
        super().reload()
        values = {
            trial_id: trial.hyperparameters.values
            for trial_id, trial in self.trials.items()
        }
        order = functools.cmp_to_key(
            lambda one, other: self._compare(values[one], values[other])
        )
        self._ordered_ids: Any = type(self._ordered_ids)()
        self._populate_next = sorted(values, key=order)
        for trial_id in self._populate_next:
            self._ordered_ids.insert(trial_id)
