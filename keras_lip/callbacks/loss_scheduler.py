"""Schedules a parameter of losses by epoch."""

from collections.abc import Callable
from typing import Any

import keras

from keras_lip.callbacks.base_scheduler import BaseScheduler
from keras_lip.losses.base_loss import BaseLoss


class LossScheduler(BaseScheduler):
    """Sets a parameter of the compiled loss at the start of each epoch.

    By default the parameter is `alpha` of the HKR losses. A growing `alpha`
    turns a critic that separates the classes by a wide gap into a classifier.
    Other parameters are `margin`, and `temperature` of the temperature
    crossentropies.

    Each change compiles the training and evaluation steps again, which takes as
    long as at the start of training. A schedule that rarely changes is cheap,
    but one that changes in every epoch may be slow. The losses of an epoch, and
    of its validation, use the value of that epoch. The value is added to the
    logs under the parameter's name. Put the callback before callbacks that read
    the logs, such as `keras.callbacks.CSVLogger`. After training the model
    keeps the last value.

    Args:
        schedule: Function from the epoch, an integer from zero, to the value.
            It must depend only on the epoch, so that training can be resumed
            with `fit(initial_epoch=...)`.
        parameter: String. Name of the parameter. It is set in every compiled
            loss of `keras_lip.losses` that has it. Defaults to `"alpha"`.

    Raises:
        TypeError: If `schedule` is not a function, or `parameter` is not a
            string.
        ValueError: In training, if no loss of the model has the parameter, or
            the value is invalid for the loss.

    Example:

    >>> scheduler = keras_lip.callbacks.LossScheduler(
    ...     lambda epoch: 1.0 if epoch < 10 else 50.0
    ... )

    Reference:

    - [Serrurier et al., 2021](https://arxiv.org/abs/2006.06520), on the role of
      alpha
    """

    def __init__(
        self, schedule: Callable[[int], float], parameter: str = "alpha"
    ) -> None:
        if not isinstance(parameter, str):
            raise TypeError(
                "`parameter` must be the name of a parameter of the loss, such "
                f'as `"alpha"`. Received: parameter={parameter!r}'
            )
        super().__init__(schedule, parameter, log_name=parameter)

    def find_targets(self) -> list[Any]:
        losses = [
            loss
            for loss in keras.tree.flatten(self.model.loss)
            if isinstance(loss, BaseLoss)
            and isinstance(loss.get_config().get(self.parameter), float)
        ]
        if not losses:
            raise ValueError(
                f"No loss of model '{self.model.name}' has a number "
                f"`{self.parameter}`. Compile it with an instance of a loss of "
                "`keras_lip.losses` that has one. Received: "
                f"loss={self.model.loss!r}"
            )
        return losses
