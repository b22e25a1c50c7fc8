"""The sandwich layer: a dense layer between two diagonal scalings."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lip import parametrizations
from keras_lip.held_values import compute_once
from keras_lip.layers.constrained_kernel import add_state
from keras_lip.layers.constrained_kernel import assign_state
from keras_lip.layers.constrained_kernel import can_move_state
from keras_lip.layers.residual.base_hidden_block import BaseHiddenDense
from keras_lip.layers.residual.diagonal_scaling import bounded_exponential
from keras_lip.parametrizations import Parametrization
from keras_lip.program.builder import Wire
from keras_lip.program.freezing.activations import make_activation
from keras_lip.program.nodes.composite import Sandwich
from keras_lip.program.nodes.dense import Dense
from keras_lip.read_weight import read_kernel
from keras_lip.read_weight import read_weight
from keras_lip.types import Config
from keras_lip.types import Shape
from keras_lip.types import Tensor
from keras_lip.validation import check_positive_integer


@keras.saving.register_keras_serializable(package="keras_lip")
class SandwichDense(BaseHiddenDense):
    """Two matrices with an activation between them, 1-Lipschitz as a whole.

    The layer computes `sqrt(2) A^T P s(sqrt(2) P^{-1} B x + b)`, where `A A^T +
    B B^T = I`, `P` is a trainable positive diagonal matrix and `s` a
    non-decreasing 1-Lipschitz activation. The layer is 1-Lipschitz in the l2
    norm, although the two matrices around `s` may not be. It can represent
    functions that a composition of 1-Lipschitz layers cannot.

    A parametrization makes the columns of the stacked matrix of `A^T` and `B^T`
    orthonormal. `lipschitz_bound` is computed from the matrices used at
    inference. It includes the square roots of the diagonals `P_1` and `P_2`
    before and after the activation: `|[A B]^T P_1 P_2|^2 / 2`, which is one up
    to rounding. The logarithm of `P` is trainable, and limited to values
    between -10 and 10.

    Args:
        units: Positive integer. Dimension of the output.
        activation: Name or function of a non-decreasing 1-Lipschitz activation
            of `keras.activations`. Defaults to `"relu"`.
        kernel_initializer: Initializer of the free kernel. Defaults to
            `"glorot_uniform"`.
        bias_initializer: Initializer of the hidden bias. Defaults to `"zeros"`.
        kernel_regularizer: Regularizer of the free kernel. Defaults to `None`.
        bias_regularizer: Regularizer of the hidden bias. Defaults to `None`.
        parametrization: Name, config or instance of an orthogonal
            `keras_lip.parametrizations.Parametrization`. Defaults to
            `"cayley"`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        ValueError: If `units` is not a positive integer, the activation is not
            known to be non-decreasing and 1-Lipschitz, or the parametrization
            is unknown or not orthogonal.

    Input shape:
        `(batch_size, ..., input_dim)`.

    Output shape:
        `(batch_size, ..., units)`.

    Example:

    >>> layer = keras_lip.layers.SandwichDense(4)
    >>> tuple(layer(np.ones((2, 3))).shape)
    (2, 4)

    Reference:

    - [Wang & Manchester, 2023](https://arxiv.org/abs/2301.11526), the
      sandwich layer
    """

    def __init__(
        self,
        units: int,
        activation: Any = "relu",
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        *,
        parametrization: str | Config | Parametrization = "cayley",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            activation,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            **kwargs,
        )
        self.units = check_positive_integer("units", units)
        self.parametrization = parametrizations.get_orthogonal(
            parametrization, owner=type(self).__name__
        )

    def build(self, input_shape: Shape) -> None:
        shape = (self.units + self._fix_input_dim(input_shape), self.units)
        self.free_kernel = self._add_kernel("free_kernel", shape)
        self.bias = self._add_bias(self.units)
        self.log_scale = self.add_weight(
            name="log_scale",
            shape=(self.units,),
            initializer="zeros",
            autocast=False,
        )
        self.state = add_state(self, self.parametrization.initial_state(shape))

    def _compute_factors(
        self, training: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns stacked `A^T` and `B^T`, `sqrt(2) P^{-1}` and `sqrt(2) P`."""
        training = training and can_move_state(self.state)
        kernel, state = self.parametrization(
            self.free_kernel, self.state, training
        )
        if training:
            assign_state(self.state, state)
        scale = bounded_exponential(ops.convert_to_tensor(self.log_scale))
        return kernel, math.sqrt(2) / scale, math.sqrt(2) * scale

    def compute_kernels(self, training: bool = False) -> tuple[Tensor, Tensor]:
        """Returns the two kernels, including the diagonal factors.

        The layer computes `s(x up + b) down^T` with them. In training it may
        update a state.
        """
        kernel, before, after = self._compute_factors(training)
        return kernel[self.units :] * before, kernel[: self.units] * after

    def _constrain(self) -> Any:
        return self.compute_kernels()

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        if training and self.trainable:
            kernels = self.compute_kernels(training=True)
        else:
            kernels = compute_once(self)
        up, down = (ops.cast(kernel, inputs.dtype) for kernel in kernels)
        hidden = self.activation(ops.matmul(inputs, up) + self.bias)
        return ops.matmul(hidden, ops.transpose(down))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.units)

    def freeze(self, *inputs: Wire) -> Wire:
        _, before, after = map(read_weight, self._compute_factors())
        up, down = (
            read_kernel(self, kernel) for kernel in self.compute_kernels()
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            balance = np.sqrt(before / after).astype("float32")
        return inputs[0].then(
            Sandwich(
                Dense(up, read_kernel(self, self.bias)),
                make_activation(self.activation),
                Dense(down.T, None),
                balance.astype("float64"),
            )
        )

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "units": self.units,
            "parametrization": parametrizations.serialize(self.parametrization),
        }
