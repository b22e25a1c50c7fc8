"""Whether a live model answers as the program that was read from it."""

import numpy as np

from keras_lip.live_model import LiveModel
from keras_lip.program import upward
from keras_lip.program.enclosure import Enclosure
from keras_lip.types import Array


def check_live(
    live: LiveModel, x: Array, outputs: Enclosure, start: int = 0
) -> Array:
    """Refuses a model that answers otherwise than its program.

    Whatever was overlooked in reading the model, a `call` that was patched or a
    constant that is stale, is then an error and no false certificate.

    Args:
        live: The `LiveModel`.
        x: Array of inputs.
        outputs: The `Enclosure` of the program's output at `x`, whose `error`
            says how far an ordinary execution may be off.
        start: Integer. Number of the first sample, for the error.

    Returns:
        Boolean array of shape `(num_samples,)`: where the live model overflows.

    Raises:
        ValueError: If an answer is off by more.
    """
    found = live(x)
    if found.shape != outputs.value.shape:
        raise ValueError(
            "The model returns outputs of another shape than the program that "
            f"was read from it. Received: {found.shape}, where "
            f"{outputs.value.shape} was expected"
        )
    off, allowed = measure(found, outputs)
    wrong = off > allowed
    if np.any(wrong):
        index = int(np.argmax(wrong))
        raise ValueError(
            "The model answers otherwise than what was read from its layers, "
            f"by {off[index]:.3g} at sample {start + index}, where roundings "
            f"explain {allowed[index]:.3g}. Something changes what a layer "
            "computes without being seen: a method that was replaced, a "
            "constant that is stale, a scope of reduced precision. Nothing is "
            "certified."
        )
    flat = found.reshape(len(found), -1)
    return np.logical_not(np.isfinite(flat).all(axis=1))


def measure(found: Array, outputs: Enclosure) -> tuple[Array, Array]:
    """Returns how far answers are off, and how far they may be.

    What overflows, or is no number, is off by nothing: it has no radius.
    """
    allowed = upward.add(outputs.error[0], outputs.center)
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.abs(found - outputs.value)
    off = np.nan_to_num(difference, nan=0.0, posinf=0.0)
    return np.linalg.norm(off.reshape(len(off), -1), axis=1), allowed
