"""What dense blocks with one hidden layer share."""

from typing import Any

import keras

from keras_lip.layers.residual.base_hidden_block import BaseHiddenBlock
from keras_lip.types import Shape


class BaseHiddenDense(BaseHiddenBlock):
    """A block with a dense hidden layer.

    Args:
        activation: Name or function of a non-decreasing 1-Lipschitz activation
            of `keras.activations`.
        **kwargs: As in `BaseHiddenBlock`.
    """

    def __init__(self, activation: Any = "relu", **kwargs: Any) -> None:
        super().__init__(activation, **kwargs)
        self.input_spec = keras.layers.InputSpec(min_ndim=2)

    def fix_input_dim(self, input_shape: Shape) -> int:
        """Returns the size of the last axis, on which the layer now insists."""
        input_dim = input_shape[-1]
        if input_dim is None:
            raise ValueError(
                f"The last axis of the inputs of layer '{self.name}' must have "
                f"a known size. Received: input_shape={tuple(input_shape)}"
            )
        self.input_spec = keras.layers.InputSpec(
            min_ndim=2, axes={-1: input_dim}
        )
        return input_dim
