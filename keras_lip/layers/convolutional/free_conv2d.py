"""Two-dimensional convolution whose norm is measured, not constrained."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_lip.layers.convolutional.explicit_conv import ExplicitConv
from keras_lip.layers.convolutional.kernel_maps import Free


@keras.saving.register_keras_serializable(package="keras_lip")
class FreeConv2D(ExplicitConv):
    """2D convolution whose norm is measured, not constrained.

    The layer is a plain convolution with its trained kernel.

    **The layer is not 1-Lipschitz**: `lipschitz_bound` proves a bound on the l2
    operator norm of the kernel in use, for images of any size and either
    padding. Certificates of a model with such layers use this bound. A loss
    such as `keras_lip.losses.EMMA` trains with an estimate of the norm: 10
    iterations of the power method in each training step. They start from the
    final image of the previous step, which is stored as a non-trainable weight.
    Without such a loss, the norm is not controlled. A LiResNet starts with this
    layer.

    Args:
        filters: Positive integer. Number of output channels.
        kernel_size: Positive integer, or a pair: height and width of the
            window.
        strides: Positive integer, or a pair. With circular padding, strides
            must divide the sides of the image. Defaults to `1`.
        padding: `"same"` or `"valid"`. Defaults to `"same"`.
        data_format: `"channels_last"` or `"channels_first"`. Defaults to
            `None`, for `keras.config.image_data_format()`.
        dilation_rate: Positive integer, or a pair. Incompatible with `strides >
            1`. Defaults to `1`.
        activation: Activation function. Its Lipschitz constant must be known
            and multiplies the layer's bound. Defaults to `None`.
        use_bias: Boolean. Whether the layer adds a bias. Defaults to `True`.
        kernel_initializer: Initializer of the kernel. Defaults to
            `"orthogonal"`.
        bias_initializer: Initializer of the bias. Defaults to `"zeros"`.
        kernel_regularizer: Regularizer of the kernel. Defaults to `None`.
        bias_regularizer: Regularizer of the bias. Defaults to `None`.
        padding_mode: `"circular"` or `"zeros"`. What `"same"` pads with: the
            opposite side of the image, or zeros. Defaults to `"circular"`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        ValueError: If an argument is out of range, the activation has no known
            bound, or strides do not divide the sides of an image with circular
            padding.

    Input shape:
        `(batch_size, height, width, channels)`, or with `"channels_first"`
        `(batch_size, channels, height, width)`.

    Output shape:
        `(batch_size, new_height, new_width, filters)`, or with
        `"channels_first"` `(batch_size, filters, new_height, new_width)`.
        With `"same"`, a side is `ceil(side / stride)`.

    Example:

    >>> layer = keras_lip.layers.FreeConv2D(8, 5, strides=2)
    >>> tuple(layer(np.ones((2, 6, 6, 4))).shape)
    (2, 3, 3, 8)

    Reference:

    - [Leino et al., 2021](https://arxiv.org/abs/2102.08452), section 3
    - [Hu et al., 2023](https://arxiv.org/abs/2301.12549), section 5, for the
      first layer
    """

    guarantee = "norm measured, not held"

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str = "same",
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        *,
        padding_mode: str = "circular",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            2,
            Free(),
            filters,
            kernel_size,
            strides=strides,
            padding=padding,
            data_format=data_format,
            dilation_rate=dilation_rate,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            padding_mode=padding_mode,
            **kwargs,
        )
