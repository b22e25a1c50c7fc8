"""The SDP-based Lipschitz layer."""

from typing import Any

import keras
from keras import ops

from keras_lip.held_values import compute_once
from keras_lip.layers.residual.base_hidden_block import BaseHiddenDense
from keras_lip.layers.residual.diagonal_scaling import sll_step_kernel
from keras_lip.program.builder import Wire
from keras_lip.program.freezing.activations import activate
from keras_lip.program.nodes.dense import Dense
from keras_lip.program.nodes.merges import Combine
from keras_lip.read_weight import read_kernel
from keras_lip.types import Config
from keras_lip.types import Shape
from keras_lip.types import Tensor
from keras_lip.validation import check_positive_integer


@keras.saving.register_keras_serializable(package="keras_lip")
class SLLDense(BaseHiddenDense):
    """Residual dense block scaled by a diagonal (SDP-based Lipschitz layer).

    The layer computes `x - 2 s(x W + b) T^{-1} W^T`, where `s` is a
    non-decreasing 1-Lipschitz activation and `T` is a diagonal matrix with `t_i
    = sum_j |W^T W|_ij q_j / q_i` for trainable `q_i > 0`. If column `j` of
    `T^{-1} |W^T W|` is multiplied by `q_j` and row `i` divided by `q_i`, its
    rows sum to one. The eigenvalues of `W T^{-1} W^T` are therefore at most
    one, and the layer is 1-Lipschitz in the l2 norm. Unlike in
    `ConvexPotentialDense`, each hidden unit has its own step length, and
    nothing is estimated.

    `lipschitz_bound` is `max(1, 2 c - 1)`, where `c` bounds the eigenvalues of
    `W T^{-1} W^T` with the numbers used at inference. The logarithm of `q_i` is
    trainable, and limited to values between -10 and 10. It is initialized to
    zero, where `T` is the diagonal of AOL.

    Every `t_i` is at least 0.01, so that steps are at most 200. With a zero
    kernel the block is the identity. It can train from there if its bias is not
    zero.

    Args:
        hidden_units: Positive integer. Number of hidden units.
        activation: Name or function of a non-decreasing 1-Lipschitz activation
            of `keras.activations`. Defaults to `"relu"`.
        kernel_initializer: Initializer of the kernel. Defaults to
            `"glorot_uniform"`.
        bias_initializer: Initializer of the hidden bias. Defaults to `"zeros"`.
        kernel_regularizer: Regularizer of the kernel. Defaults to `None`.
        bias_regularizer: Regularizer of the hidden bias. Defaults to `None`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        ValueError: If `hidden_units` is not a positive integer or the
            activation is not known to be non-decreasing and 1-Lipschitz.

    Input shape:
        `(batch_size, ..., input_dim)`.

    Output shape:
        Same as the input.

    Example:

    >>> layer = keras_lip.layers.SLLDense(8)
    >>> tuple(layer(np.ones((2, 3))).shape)
    (2, 3)

    Reference:

    - [Araujo et al., 2023](https://arxiv.org/abs/2303.03169), the
      SDP-based Lipschitz layer (SLL)
    """

    def __init__(
        self,
        hidden_units: int,
        activation: Any = "relu",
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
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
        self.hidden_units = check_positive_integer("hidden_units", hidden_units)

    def build(self, input_shape: Shape) -> None:
        input_dim = self._fix_input_dim(input_shape)
        self.kernel = self._add_kernel("kernel", (input_dim, self.hidden_units))
        self.bias = self._add_bias(self.hidden_units)
        self.log_scale = self.add_weight(
            name="log_scale",
            shape=(self.hidden_units,),
            initializer="zeros",
            autocast=False,
        )

    def compute_kernels(self) -> tuple[Tensor, Tensor]:
        """Returns `W` and `2 W T^{-1}`.

        The layer computes `x - s(x W + b) (2 W T^{-1})^T` with them.
        """
        kernel = ops.convert_to_tensor(self.kernel)
        back = sll_step_kernel(
            kernel,
            ops.convert_to_tensor(self.log_scale),
            lambda kernel: ops.abs(ops.matmul(ops.transpose(kernel), kernel)),
        )
        return kernel, back

    def _constrain(self) -> Any:
        return self.compute_kernels()

    def call(self, inputs: Tensor) -> Tensor:
        kernels = compute_once(self)
        kernel, back = (ops.cast(kernel, inputs.dtype) for kernel in kernels)
        hidden = self.activation(ops.matmul(inputs, kernel) + self.bias)
        return inputs - ops.matmul(hidden, ops.transpose(back))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def freeze(self, *inputs: Wire) -> Wire:
        (x,) = inputs
        kernel, back = (
            read_kernel(self, kernel) for kernel in compute_once(self)
        )
        up = Dense(kernel, read_kernel(self, self.bias))
        hidden = activate(x.then(up), self.activation)
        return x.then(Combine((1.0, -1.0)), hidden.then(Dense(back.T, None)))

    def get_config(self) -> Config:
        return {**super().get_config(), "hidden_units": self.hidden_units}
