"""Parameters of losses by epoch."""

from collections.abc import Callable
from typing import Any

import keras

from keras_lip.callbacks.base_scheduler import BaseScheduler
from keras_lip.losses.base_loss import BaseLoss


class LossScheduler(BaseScheduler):
    """Sets a parameter of the compiled loss at the start of each epoch.

    By default it is the `alpha` of the HKR losses: growing, it turns
    a critic that separates the classes by a wide gap into a classifier. Others
    are `margin`, and the `temperature` of the temperature crossentropies.

    Each change compiles the training and evaluation steps anew, which takes as
    long as at the start of training: schedules of few steps are cheap, one that
    moves at every epoch may not be. Losses of the epoch, and of its validation,
    are those under its value. The value is added to the logs under the
    parameter's name; put the callback before those that read the logs, such as
    `keras.callbacks.CSVLogger`. The last one stays in the model.

    Args:
        schedule: Function of the epoch, an integer from zero, that returns the
            value. It depends on nothing else, so that training resumed with
            `fit(initial_epoch=...)` goes on where it was.
        parameter: String. Name of the parameter. It is set in every loss of
            `keras_lip.losses` in the `compile` of the model that has it.
            Defaults to `"alpha"`.

    Raises:
        TypeError: If `schedule` is not a function, or `parameter` no string.
        ValueError: In training, if no loss of the model has the parameter, or
            if the loss refuses the value.

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
                f"`{self.parameter}`. Compile it with a loss of "
                "`keras_lip.losses` that has one, as an instance. Received: "
                f"loss={self.model.loss!r}"
            )
        return losses
