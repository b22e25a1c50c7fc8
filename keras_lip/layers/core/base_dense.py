"""The base class of densely-connected Lipschitz layers."""

import abc
from typing import Any

import keras
from keras import ops

from keras_lip.held_values import compute_once
from keras_lip.layers.constrained_kernel import frozen_kernel
from keras_lip.layers.initializers import get_initializer
from keras_lip.layers.lipschitz_layer import LipschitzLayer
from keras_lip.program.builder import Wire
from keras_lip.program.freezing.activations import activate
from keras_lip.program.freezing.activations import find_slope
from keras_lip.program.freezing.activations import get_activation
from keras_lip.program.freezing.reading import read_bias
from keras_lip.program.nodes.dense import Dense
from keras_lip.types import Config
from keras_lip.types import Shape
from keras_lip.types import Tensor
from keras_lip.validation import check_positive_integer


class BaseDense(LipschitzLayer):
    """Computes `activation(dot(inputs, kernel) + bias)`.

    Subclasses define how the kernel is computed from the weight `free_kernel`,
    how it multiplies the inputs in training, and which kernel is proven.

    Args:
        units: Positive integer. Dimension of the output.
        activation: Activation function. Its Lipschitz constant must be known
            and multiplies the layer's bound. Defaults to `None`.
        use_bias: Boolean. Whether the layer adds a bias.
        kernel_initializer: Initializer of the free kernel.
        bias_initializer: Initializer of the bias.
        kernel_regularizer: Regularizer of the free kernel.
        bias_regularizer: Regularizer of the bias.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.
    """

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.units = check_positive_integer("units", units)
        self.activation = get_activation(activation)
        self.use_bias = use_bias
        self.kernel_initializer = get_initializer(kernel_initializer)
        self.bias_initializer = get_initializer(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.input_spec = keras.layers.InputSpec(min_ndim=2)

    def build(self, input_shape: Shape) -> None:
        input_dim = input_shape[-1]
        if input_dim is None:
            raise ValueError(
                f"The last axis of the inputs of layer '{self.name}' must have "
                f"a known size. Received: input_shape={tuple(input_shape)}"
            )
        # The free kernel stays in float32 under mixed precision, because its
        # spectral norm would exceed one if it were constrained in bfloat16.
        self.free_kernel = self.add_weight(
            name="free_kernel",
            shape=self._free_shape(input_dim),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            autocast=False,
        )
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(self.units,),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
            )
        self.input_spec = keras.layers.InputSpec(
            min_ndim=2, axes={-1: input_dim}
        )

    def _free_shape(self, input_dim: int) -> tuple[int, ...]:
        """Returns the shape of the free kernel."""
        return (input_dim, self.units)

    @property
    @abc.abstractmethod
    def kernel(self) -> Tensor:
        """The constrained kernel used at inference."""

    @abc.abstractmethod
    def _train_multiply(self, inputs: Tensor) -> Tensor:
        """Multiplies by the kernel in a training step, and may update a state.

        Its rounding may differ from the product with `kernel`.
        """

    @abc.abstractmethod
    def _proven_kernel(self) -> Tensor:
        """Returns a kernel that is proven to be non-expansive."""

    def _constrain(self) -> Any:
        return self.kernel

    def _estimate_norm(self, training: bool) -> Any:
        """Returns the norm of the kernel that a loss uses."""
        return 1.0

    def _estimate_bound(self, training: bool) -> Any:
        norm = self._estimate_norm(training and self.trainable)
        return norm * find_slope(self.activation)

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        if training and self.trainable:
            outputs = self._train_multiply(inputs)
        else:
            kernel = ops.cast(compute_once(self), inputs.dtype)
            outputs = ops.matmul(inputs, kernel)
        if self.use_bias:
            outputs = ops.add(outputs, self.bias)
        return self.activation(outputs)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.units)

    def freeze(self, *inputs: Wire) -> Wire:
        (x,) = inputs
        dense = Dense(frozen_kernel(self, x.proven), read_bias(self))
        return activate(x.then(dense), self.activation)

    def get_config(self) -> Config:
        initializers, regularizers = keras.initializers, keras.regularizers
        return {
            **super().get_config(),
            "units": self.units,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": initializers.serialize(
                self.kernel_initializer
            ),
            "bias_initializer": initializers.serialize(self.bias_initializer),
            "kernel_regularizer": regularizers.serialize(
                self.kernel_regularizer
            ),
            "bias_regularizer": regularizers.serialize(self.bias_regularizer),
        }
