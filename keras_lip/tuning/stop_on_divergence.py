"""The end of a training that has diverged."""

import math
from typing import Any

import keras
import keras_tuner


class StopOnDivergence(keras.callbacks.Callback):
    """Fails the trial at the end of an epoch whose loss is not finite.

    Keras-tuner does not: a metric that counts correct answers is finite even of
    logits that are NaN, and the trial would be recorded as a bad one.
    """

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            raise keras_tuner.errors.FailedTrialError(
                f"The loss of epoch {epoch + 1} is {loss}."
            )
