"""Compares a live model with the program that was read from it."""

import numpy as np

from keras_lip.live_model import LiveModel
from keras_lip.program import upward
from keras_lip.program.enclosure import Enclosure
from keras_lip.types import Array


def check_live(
    live: LiveModel, x: Array, outputs: Enclosure, start: int = 0
) -> Array:
    """Raises an error if a model's outputs differ from its program's.

    If the reader missed something, such as a patched `call` or a stale
    constant, this gives an error instead of a false certificate.

    Args:
        live: The `LiveModel`.
        x: Array of inputs.
        outputs: The `Enclosure` of the program's output at `x`. Its `error`
            bounds the deviation of an ordinary execution.
        start: Integer. Index of the first sample, for the error message.

    Returns:
        Boolean array of shape `(num_samples,)`. `True` where the live model
        overflows.

    Raises:
        ValueError: If an output differs by more than its error bound.
    """
    # The data may come from a generator that changes weights.
    live.refresh()
    found = live(x)
    if found.shape != outputs.value.shape:
        raise ValueError(
            "The model returns outputs of another shape than the program that "
            f"was read from it. Received: {found.shape}, expected: "
            f"{outputs.value.shape}"
        )
    off, allowed = measure(found, outputs)
    wrong = off > allowed
    if np.any(wrong):
        index = int(np.argmax(wrong))
        raise ValueError(
            "The model's outputs differ from the program that was read from "
            f"its layers, by {off[index]:.3g} at sample {start + index}, but "
            f"rounding explains only {allowed[index]:.3g}. Something changes a "
            "layer's computation unnoticed: a replaced method, a stale "
            "constant, weights that change while the data are read, or a scope "
            "of reduced precision. Nothing is certified."
        )
    flat = found.reshape(len(found), -1)
    return np.logical_not(np.isfinite(flat).all(axis=1))


def measure(found: Array, outputs: Enclosure) -> tuple[Array, Array]:
    """Returns the deviations of outputs, and their allowed values.

    Infinities and NaN count as no deviation, because their radius is zero.
    """
    allowed = upward.add(outputs.error[0], outputs.center)
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.abs(found - outputs.value)
    off = np.nan_to_num(difference, nan=0.0, posinf=0.0)
    return np.linalg.norm(off.reshape(len(off), -1), axis=1), allowed
