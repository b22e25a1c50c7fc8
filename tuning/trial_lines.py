"""Lines that say how the search goes."""

from typing import Any


def describe_start(trial: Any, max_trials: int | None) -> str:
    """Describes a trial that begins.

    Args:
        trial: A `keras_tuner.engine.trial.Trial`.
        max_trials: Number of trials of the search, or `None`.

    Returns:
        A line of text: the number of the trial, and its values.
    """
    number = int(trial.trial_id) + 1
    total = f"/{max_trials}" if max_trials else ""
    return f"trial {number}{total}: {describe_values(trial)}"


def describe_end(trial: Any, best: Any, objective: str) -> str:
    """Describes a trial that has ended.

    Args:
        trial: A `keras_tuner.engine.trial.Trial`.
        best: The best trial so far.
        objective: Name of the objective.

    Returns:
        A line of text: its score and that of the best, or why it failed.
    """
    number = int(trial.trial_id) + 1
    if trial.status == "FAILED":
        return f"trial {number} failed: {describe_failure(trial)}"
    return (
        f"trial {number}: {objective} {trial.score:.2%}, "
        f"best {best.score:.2%} of trial {int(best.trial_id) + 1}"
    )


def describe_values(trial: Any) -> str:
    """Lists the values of a trial, but for keras-tuner's own.

    Args:
        trial: A `keras_tuner.engine.trial.Trial`.

    Returns:
        A line of text, `depth=2 units=192`.
    """
    return " ".join(
        f"{name}={format_value(value)}"
        for name, value in trial.hyperparameters.values.items()
        if name == "tuner/epochs" or not name.startswith("tuner/")
    )


def describe_failure(trial: Any) -> str:
    """Says why a trial failed.

    Args:
        trial: A `keras_tuner.engine.trial.Trial`.

    Returns:
        The last line of its message, which is a traceback.
    """
    lines = (trial.message or "").strip().splitlines()
    # The service between chief and workers does not carry messages.
    return lines[-1] if lines else "see the output of its worker"


def format_value(value: Any) -> str:
    """Formats a value of a parameter: four digits of a float."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
