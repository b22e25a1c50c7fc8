"""Schedules the number of Björck iterations by epoch."""

import copy
from collections.abc import Callable
from typing import Any

from keras_lip.callbacks.base_scheduler import BaseScheduler
from keras_lip.model_layers import named_layers
from keras_lip.parametrizations import Bjorck


class BjorckScheduler(BaseScheduler):
    """Sets the iterations of every `Bjorck` at the start of each epoch.

    Few iterations make training fast. Many iterations at the end make the
    kernels orthogonal to machine precision. The kernels are non-expansive for
    any number of iterations. The callback sets all layers whose
    `parametrization` is a `keras_lip.parametrizations.Bjorck`, including layers
    of nested models. It does not change frozen layers: a layer that shares a
    `Bjorck` instance with a frozen layer gets its own copy.

    Training and inference use the same number of iterations. Validation uses
    the number of its epoch, and after training the model keeps the last number.
    End the schedule with the number to use at inference, such as 15.

    Each change compiles the steps of the model again, which takes as long as at
    the start of training. A schedule should therefore change its value rarely.
    The number is added to the logs as `bjorck_iterations`. Put the callback
    before callbacks that read the logs, such as `keras.callbacks.CSVLogger`.

    Args:
        schedule: Function from the epoch, an integer from zero, to the positive
            number of iterations. It must depend only on the epoch, so that
            training can be resumed with `fit(initial_epoch=...)`.

    Raises:
        TypeError: If `schedule` is not a function.
        ValueError: In training, if no layer of the model is
            parametrized by `Bjorck`, or if the value is not a positive integer.

    Example:

    >>> scheduler = keras_lip.callbacks.BjorckScheduler(
    ...     lambda epoch: 3 if epoch < 15 else 15
    ... )

    Reference:

    - [Anil et al., 2019](https://arxiv.org/abs/1811.05381), who use 2 or 3
      iterations in training and 15 at its end
    """

    def __init__(self, schedule: Callable[[int], int]) -> None:
        super().__init__(schedule, "iterations", "bjorck_iterations")

    def find_targets(self) -> list[Any]:
        layers = [
            layer
            for _, layer in named_layers(self.model)
            if isinstance(getattr(layer, "parametrization", None), Bjorck)
        ]
        trained = {
            id(layer)
            for _, layer in named_layers(self.model, trainable_only=True)
        }
        found = [layer for layer in layers if id(layer) in trained]
        if not layers:
            raise ValueError(
                f"No layer of model '{self.model.name}' is "
                "parametrized by `keras_lip.parametrizations.Bjorck`. Use "
                "layers such as `keras_lip.layers.OrthogonalDense` with "
                '`parametrization="bjorck"`, or remove `BjorckScheduler`.'
            )
        frozen = {
            id(layer.parametrization)
            for layer in layers
            if id(layer) not in trained
        }
        for layer in found:
            if id(layer.parametrization) in frozen:
                layer.parametrization = copy.copy(layer.parametrization)
        return [layer.parametrization for layer in found]
