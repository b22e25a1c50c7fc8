"""The number of Björck's iterations by epoch."""

import copy
from collections.abc import Callable
from typing import Any

from keras_lip.callbacks.base_scheduler import BaseScheduler
from keras_lip.model_layers import named_layers
from keras_lip.parametrizations import Bjorck


class BjorckScheduler(BaseScheduler):
    """Sets the iterations of every `Bjorck` at the start of each epoch.

    Few iterations make training fast, and many at its end make the kernels
    orthogonal to machine precision: with any number they are non-expansive.
    All layers whose `parametrization` is a `keras_lip.parametrizations.Bjorck`
    are set, those of nested models included. Frozen layers, and the layers of
    frozen models, are left alone: a layer that shares an instance of `Bjorck`
    with a frozen one is given a copy of its own.

    Training and inference use the same number: validation in an epoch runs with
    that of the epoch, and the model is left, and saved, with the last one. End
    with as many as are to run, such as 15.

    Each change compiles the steps of the model anew, which takes as long as at
    the start of training: a schedule should have few steps. The number is added
    to the logs as `bjorck_iterations`; put the callback before those that read
    the logs, such as `keras.callbacks.CSVLogger`.

    Args:
        schedule: Function of the epoch, an integer from zero, that returns the
            positive integer. It depends on nothing else, so that training
            resumed with `fit(initial_epoch=...)` goes on where it was.

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
