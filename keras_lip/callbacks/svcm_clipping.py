"""Clips singular values of convolutions during training."""

from typing import Any

import keras

from keras_lip.layers.convolutional.svcm_conv2d import SVCMConv2D
from keras_lip.model_layers import named_layers
from keras_lip.validation import check_positive_integer


class SVCMClipping(keras.callbacks.Callback):
    """Clips the singular values of every `SVCMConv2D` every n steps.

    Kernels are clipped after every `every_n_steps`-th training step, and at the
    end of training. Between these steps the layers divide by an estimate of
    their norm. Frozen layers are not changed.

    Args:
        every_n_steps: Positive integer. Number of training steps between
            clippings. Defaults to `100`.
        rounds: Positive integer. Number of rounds of clipping followed by
            cropping to the window of the kernel. Li et al. make 50. Defaults to
            `1`, which is our choice.

    Raises:
        ValueError: If an argument is not a positive integer or, in training, if
            the model has no `SVCMConv2D`.

    Example:

    >>> clipping = keras_lip.callbacks.SVCMClipping(every_n_steps=100)

    Reference:

    - [Li et al., 2019](https://arxiv.org/abs/1911.00937), section 5.2.2, with
      50 rounds after every 100 steps
    """

    def __init__(self, every_n_steps: int = 100, rounds: int = 1) -> None:
        super().__init__()
        self.every_n_steps = check_positive_integer(
            "every_n_steps", every_n_steps
        )
        self.rounds = check_positive_integer("rounds", rounds)
        self._steps = 0

    def on_train_begin(self, logs: Any = None) -> None:
        self._steps = 0
        if not self._find_layers(trainable_only=False):
            raise ValueError(
                f"Model '{self.model.name}' has no `SVCMConv2D` to clip. Add "
                "one, or remove `SVCMClipping`."
            )

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._steps += 1
        if self._steps % self.every_n_steps == 0:
            if hasattr(self.model, "jax_state_sync"):
                # On JAX, training keeps the weights outside the model. They are
                # loaded here, and the changed ones are stored back.
                self.model.jax_state_sync()
            self._clip()

    def on_train_end(self, logs: Any = None) -> None:
        self._clip()

    def _clip(self) -> None:
        for layer in self._find_layers():
            layer.clip_singular_values(self.rounds)

    def _find_layers(self, trainable_only: bool = True) -> list[SVCMConv2D]:
        return [
            layer
            for _, layer in named_layers(self.model, trainable_only)
            if isinstance(layer, SVCMConv2D)
        ]
