"""The base classes of blocks with one hidden layer."""

from typing import Any

import keras

from keras_lip.layers.initializers import get_initializer
from keras_lip.layers.lipschitz_layer import LipschitzLayer
from keras_lip.program.freezing.activations import get_monotone_activation
from keras_lip.types import Config
from keras_lip.types import Shape


class BaseHiddenBlock(LipschitzLayer):
    """A block with one hidden layer and a monotone 1-Lipschitz activation.

    Args:
        activation: Name or function of a non-decreasing 1-Lipschitz activation
            of `keras.activations`.
        kernel_initializer: Initializer of the kernel.
        bias_initializer: Initializer of the bias of the hidden layer.
        kernel_regularizer: Regularizer of the kernel.
        bias_regularizer: Regularizer of the bias.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.
    """

    def __init__(
        self,
        activation: Any = "relu",
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.activation = get_monotone_activation(activation)
        self.kernel_initializer = get_initializer(kernel_initializer)
        self.bias_initializer = get_initializer(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)

    def _add_kernel(self, name: str, shape: tuple[int, ...]) -> Any:
        """Adds a kernel that stays in float32 under mixed precision."""
        return self.add_weight(
            name=name,
            shape=shape,
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            autocast=False,
        )

    def _add_bias(self, hidden_units: int) -> Any:
        """Adds the bias of the hidden layer."""
        return self.add_weight(
            name="bias",
            shape=(hidden_units,),
            initializer=self.bias_initializer,
            regularizer=self.bias_regularizer,
        )

    def get_config(self) -> Config:
        initializers, regularizers = keras.initializers, keras.regularizers
        return {
            **super().get_config(),
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": initializers.serialize(
                self.kernel_initializer
            ),
            "bias_initializer": initializers.serialize(self.bias_initializer),
            "kernel_regularizer": regularizers.serialize(
                self.kernel_regularizer
            ),
            "bias_regularizer": regularizers.serialize(self.bias_regularizer),
        }


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

    def _fix_input_dim(self, input_shape: Shape) -> int:
        """Returns the size of the last axis, and fixes it for later calls."""
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
