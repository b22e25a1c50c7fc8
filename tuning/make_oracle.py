"""The oracles of the search command, by name."""

from typing import Any

import keras_tuner
from keras_tuner.oracles import BayesianOptimizationOracle
from keras_tuner.oracles import HyperbandOracle
from keras_tuner.oracles import RandomSearchOracle

from keras_lip.tuning.base_hyper_model import OBJECTIVE
from keras_lip.validation import check_known
from keras_lip.validation import check_positive_integer
from tuning.durable_oracle import DurableOracle
from tuning.grid_search_oracle import DurableGridSearchOracle


class DurableRandomSearchOracle(DurableOracle, RandomSearchOracle):
    """Values drawn at random."""


class DurableBayesianOptimizationOracle(
    DurableOracle, BayesianOptimizationOracle
):
    """Values that a Gaussian process expects to be good, or new."""


class DurableHyperbandOracle(DurableOracle, HyperbandOracle):
    """Many values with few epochs, and the best of them with more."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        # Brackets keep account of their trials, the first included.
        return HyperbandOracle.populate_space(self, trial_id)


TUNERS = ("random", "bayesian", "hyperband", "grid")


def make_oracle(tuner: str, trials: int, epochs: int, seed: int) -> Any:
    """Makes the oracle of a search.

    Args:
        tuner: One of `TUNERS`.
        trials: Positive integer. Number of trials at most.
        epochs: Positive integer. Epochs of a trial; with `"hyperband"`, of
            those that go furthest.
        seed: Integer, at least zero.

    Returns:
        A `keras_tuner.Oracle` that maximizes the certified accuracy.

    Raises:
        ValueError: If the name is unknown or a number is out of range.
    """
    check_known("tuner", tuner, TUNERS)
    common = {
        "objective": keras_tuner.Objective(OBJECTIVE, "max"),
        # Keras-tuner takes zero for no seed.
        "seed": seed + 1,
    }
    trials = check_positive_integer("trials", trials)
    if tuner == "hyperband":
        oracle = DurableHyperbandOracle(max_epochs=epochs, **common)
        oracle.max_trials = trials
        return oracle
    if tuner == "bayesian":
        return DurableBayesianOptimizationOracle(
            max_trials=trials, num_initial_points=max(4, trials // 3), **common
        )
    if tuner == "grid":
        return DurableGridSearchOracle(max_trials=trials, **common)
    return DurableRandomSearchOracle(max_trials=trials, **common)
