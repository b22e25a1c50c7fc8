"""Schedule for the epsilon of losses, updated before every batch."""

from collections.abc import Callable
from typing import Any

import keras

from keras_lip.losses.certified_loss import CertifiedLoss


class EpsilonScheduler(keras.callbacks.Callback):
    """Sets the epsilon of certified losses before every batch.

    Strong training recipes start with small perturbations and increase them
    during half of the training. The epsilon of `keras_lip.losses.EMMA` and
    similar losses is a variable that compiled steps read, so that changing it
    needs no compilation. The callback sets it in every loss of the compiled
    model that has an epsilon.

    The value is a function of the number of finished epochs, which is
    fractional within an epoch. If the length of an epoch is unknown, as in the
    first epoch of a data set without a known length, the value at the start of
    the epoch is used for the whole epoch. At the end of an epoch, the current
    value is added to the logs as `epsilon`. After training, the loss keeps the
    last value.

    Args:
        schedule: Function that takes the number of finished epochs, a float
            that starts at zero, and returns the epsilon. It should depend on
            nothing else. Then training resumed with `fit(initial_epoch=...)`
            continues with the same values.

    Raises:
        TypeError: If `schedule` is not a function.
        ValueError: In training, if no loss of the model has an epsilon, if the
            model is not a `LipschitzModel` or `LipschitzSequential`, or if a
            value is negative or not finite.

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
                "`schedule` must be a function of the number of finished "
                f"epochs. Received: schedule={schedule!r}"
            )
        self.schedule = schedule
        self._epoch = 0

    def find_targets(self) -> list[CertifiedLoss]:
        """Returns the losses with an epsilon, or raises if there are none."""
        losses = [
            loss
            for loss in keras.tree.flatten(self.model.loss)
            if isinstance(loss, CertifiedLoss) and loss.variables
        ]
        if not losses:
            raise ValueError(
                f"No loss of model '{self.model.name}' has an epsilon. Compile "
                "it with an instance of `keras_lip.losses.EMMA`, for example. "
                f"Received: loss={self.model.loss!r}"
            )
        read = {id(variable) for variable in self.model.metrics_variables}
        if not all(id(v) in read for loss in losses for v in loss.variables):
            raise ValueError(
                "`EpsilonScheduler` needs a `LipschitzModel` or "
                "`LipschitzSequential`. For another model, use "
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
        # On JAX, `fit` keeps the values of variables outside the variables.
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()
        for loss in losses:
            loss.epsilon = value
