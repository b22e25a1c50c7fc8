"""The SDP-based Lipschitz layer for images."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_lip.layers.residual.base_hidden_conv2d import BaseHiddenConv2D
from keras_lip.layers.residual.diagonal_scaling import sll_step_kernel
from keras_lip.linalg import correlation_moduli
from keras_lip.types import Shape
from keras_lip.types import Tensor


@keras.saving.register_keras_serializable(package="keras_lip")
class SLLConv2D(BaseHiddenConv2D):
    """Residual convolutional block scaled by a diagonal (SLL).

    The layer computes `x - 2 K^T T^{-1} s(K x + b)`, where `K` is a convolution
    with strides of one, `K^T` its exact transpose with the same padding, `s` a
    non-decreasing 1-Lipschitz activation, and `T` is a diagonal matrix with one
    number for each hidden channel (SDP-based Lipschitz layer): `t_i = sum
    |G_ij| q_j / q_i` over all channels `j` and all lags of the autocorrelation
    `G` of the kernel, for trainable `q_i > 0`. The eigenvalues of `K^T T^{-1}
    K` are then at most one, and the layer is 1-Lipschitz in the l2 norm, with
    any padding and for images of any size. Nothing is estimated.

    `lipschitz_bound` is `max(1, 2 c - 1)`, where `c` bounds the eigenvalues of
    `K^T T^{-1} K` with the numbers used at inference. The logarithm of `q_i` is
    trainable, and limited to values between -10 and 10. It is initialized to
    zero, where `T` is the diagonal of AOL.

    Every `t_i` is at least 0.01, so that steps are at most 200. With a zero
    kernel the block is the identity. It can train from there if its bias is not
    zero.

    Args:
        hidden_filters: Positive integer. Number of hidden channels.
        kernel_size: Positive integer, or a pair: height and width of the
            window.
        padding: `"same"` or `"valid"`. Padding of the convolution to the hidden
            channels. Defaults to `"same"`.
        data_format: `"channels_last"` or `"channels_first"`. Defaults to
            `None`, for `keras.config.image_data_format()`.
        activation: Name or function of a non-decreasing 1-Lipschitz activation
            of `keras.activations`. Defaults to `"relu"`.
        kernel_initializer: Initializer of the kernel. Defaults to
            `"glorot_uniform"`.
        bias_initializer: Initializer of the hidden bias. Defaults to `"zeros"`.
        kernel_regularizer: Regularizer of the kernel. Defaults to `None`.
        bias_regularizer: Regularizer of the hidden bias. Defaults to `None`.
        padding_mode: `"circular"` or `"zeros"`. Values of the padding with
            `"same"`: pixels of the opposite side of the image, or zeros.
            Defaults to `"circular"`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        ValueError: If an argument is out of range or the activation is not
            known to be non-decreasing and 1-Lipschitz.

    Input shape:
        `(batch_size, height, width, channels)`, or with `"channels_first"`
        `(batch_size, channels, height, width)`.

    Output shape:
        Same as the input.

    Example:

    >>> layer = keras_lip.layers.SLLConv2D(8, 3)
    >>> tuple(layer(np.ones((2, 6, 6, 4))).shape)
    (2, 6, 6, 4)

    Reference:

    - [Araujo et al., 2023](https://arxiv.org/abs/2303.03169), the
      SDP-based Lipschitz layer (SLL)
    """

    def __init__(
        self,
        hidden_filters: int,
        kernel_size: int | Sequence[int],
        padding: str = "same",
        data_format: str | None = None,
        activation: Any = "relu",
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        *,
        padding_mode: str = "circular",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            hidden_filters,
            kernel_size,
            padding=padding,
            data_format=data_format,
            activation=activation,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            padding_mode=padding_mode,
            **kwargs,
        )

    def build(self, input_shape: Shape) -> None:
        super().build(input_shape)
        self.log_scale = self.add_weight(
            name="log_scale",
            shape=(self.hidden_filters,),
            initializer="zeros",
            autocast=False,
        )

    def compute_kernels(self, training: bool = False) -> tuple[Tensor, Tensor]:
        kernel = ops.convert_to_tensor(self.kernel)
        log_scale = ops.convert_to_tensor(self.log_scale)
        return kernel, sll_step_kernel(kernel, log_scale, correlation_moduli)
