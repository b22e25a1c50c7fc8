"""Epsilon of losses by epoch, and by the part of it that is done."""

from collections.abc import Callable
from typing import Any

import keras

from keras_lip.losses.certified_loss import CertifiedLoss


class EpsilonScheduler(keras.callbacks.Callback):
    """Sets the epsilon of losses of certified margins, before every batch.

    Strong recipes start from perturbations that are small, and let them grow
    for half of the training. The epsilon of `keras_lip.losses.EMMA` and its
    like is a variable that compiled steps read, so that nothing is compiled
    anew. It is set in every loss in the `compile` of the model that has one.

    The value is a function of the epochs that are done, which is no whole
    number within an epoch. In an epoch of unknown length, such as the first one
    of a data set that does not know its own, it is that of the epoch's start.
    The value at its end is added to the logs as `epsilon`. The last one stays
    in the loss.

    Args:
        schedule: Function of the number of epochs that are done, a float from
            zero, that returns the epsilon. It depends on nothing else, so that
            training resumed with `fit(initial_epoch=...)` goes on where it was.

    Raises:
        TypeError: If `schedule` is not a function.
        ValueError: In training, if no loss of the model has an epsilon, if the
            model is not one of `keras_lip.models`, or if a value is negative or
            not finite.

    Example:

    >>> # From a tenth to three times 36 / 255, over half of 200 epochs.
    >>> scheduler = keras_lip.callbacks.EpsilonScheduler(
    ...     lambda epoch: 36 / 255 * min(3.0, 0.1 + 2.9 * epoch / 100)
    ... )

    Reference:

    - [Hu et al., 2023](https://github.com/hukkai/liresnet), `configs`
    """

    def __init__(self, schedule: Callable[[float], float]) -> None:
        super().__init__()
        if not callable(schedule):
            raise TypeError(
                "`schedule` must be a function of the epochs that are done. "
                f"Received: schedule={schedule!r}"
            )
        self.schedule = schedule
        self._epoch = 0

    def find_targets(self) -> list[CertifiedLoss]:
        """Returns the losses to set, or raises if the model has none."""
        losses = [
            loss
            for loss in keras.tree.flatten(self.model.loss)
            if isinstance(loss, CertifiedLoss) and loss.variables
        ]
        if not losses:
            raise ValueError(
                f"No loss of model '{self.model.name}' has an epsilon. Compile "
                "it with one such as `keras_lip.losses.EMMA`, as an instance. "
                f"Received: loss={self.model.loss!r}"
            )
        read = {id(variable) for variable in self.model.metrics_variables}
        if not all(id(v) in read for loss in losses for v in loss.variables):
            raise ValueError(
                "Epsilon is scheduled in the steps of a `LipschitzModel` or "
                "`LipschitzSequential`. With another model use "
                "`keras_lip.callbacks.LossScheduler(schedule, 'epsilon')`. "
                f"Received: model '{self.model.name}' of type "
                f"`{type(self.model).__name__}`"
            )
        return losses

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch = epoch
        self._set(float(epoch))

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        steps = (self.params or {}).get("steps")
        if batch and steps:
            self._set(self._epoch + batch / steps)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if logs is not None:
            logs["epsilon"] = self.find_targets()[0].epsilon

    def _set(self, epoch: float) -> None:
        value = float(self.schedule(epoch))
        losses = self.find_targets()
        if all(loss.epsilon == value for loss in losses):
            return
        # JAX's steps keep their variables to themselves in between.
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()
        for loss in losses:
            loss.epsilon = value
