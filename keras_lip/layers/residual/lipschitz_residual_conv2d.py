"""Linear residual convolution whose norm is measured."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_lip.layers.convolutional.explicit_conv import ExplicitConv
from keras_lip.layers.convolutional.kernel_maps import Residual
from keras_lip.layers.residual.residual_scale import check_scale
from keras_lip.layers.residual.residual_scale import small_initializer
from keras_lip.types import Config


@keras.saving.register_keras_serializable(package="keras_lip")
class LipschitzResidualConv2D(ExplicitConv):
    """2D convolution plus its input, whose norm is measured, not constrained.

    The layer computes `activation(x + scale * gamma * (W x) + bias)`, where `W`
    is a convolution without strides, `gamma` is a trained factor for each
    output channel, and `scale` is a fixed number (the linear residual block of
    LiResNet). The sum is computed as one convolution: its kernel is `scale *
    gamma * W`, plus the identity at the tap that reads the pixel itself. If
    `filters` differs from the number of input channels, channels of zeros are
    appended to `x`, or its last channels are dropped.

    **The layer is not 1-Lipschitz.** Its norm is not constrained to one.
    `lipschitz_bound` proves a bound on the l2 operator norm of the kernel in
    use, for images of any size and either padding. Certificates of a model with
    such layers use this bound. A loss such as `keras_lip.losses.EMMA` trains
    with an estimate of the norm: 10 iterations of the power method in each
    training step. They start from the final image of the previous step, which
    is stored as a non-trainable weight. Without such a loss, the norm is not
    controlled.

    Args:
        filters: Positive integer. Number of output channels, usually equal to
            the number of input channels.
        kernel_size: Positive integer, or a pair: height and width of the
            window.
        padding: `"same"` or `"valid"`. `"valid"` also crops the border of the
            added input. Defaults to `"same"`.
        data_format: `"channels_last"` or `"channels_first"`. Defaults to
            `None`, for `keras.config.image_data_format()`.
        activation: Activation function. Its Lipschitz constant must be known
            and multiplies the layer's bound. Defaults to `None`.
        use_bias: Boolean. Whether the layer adds a bias. Defaults to `True`.
        kernel_initializer: Initializer of the kernel `W`. Defaults to `None`,
            for a truncated normal distribution with standard deviation `0.1 /
            sqrt(fan_in)`, so that the layer starts near the identity.
        bias_initializer: Initializer of the bias. Defaults to `"zeros"`.
        kernel_regularizer: Regularizer of the kernel `W`. Defaults to `None`.
        bias_regularizer: Regularizer of the bias. Defaults to `None`.
        padding_mode: `"circular"` or `"zeros"`. What `"same"` pads with: the
            opposite side of the image, or zeros. Defaults to `"circular"`.
        scale: Float. Factor of the convolution. The paper uses one over the
            square root of the number of such layers. Defaults to `1.0`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        ValueError: If an argument is out of range, or the activation has no
            known bound.

    Input shape:
        `(batch_size, height, width, channels)`, or with `"channels_first"`
        `(batch_size, channels, height, width)`.

    Output shape:
        `(batch_size, height, width, filters)`, or with `"channels_first"`
        `(batch_size, filters, height, width)`. With `"valid"` each side is
        smaller by the side of the window minus one.

    Example:

    >>> layer = keras_lip.layers.LipschitzResidualConv2D(4, 3, scale=0.5)
    >>> tuple(layer(np.ones((2, 6, 6, 4))).shape)
    (2, 6, 6, 4)

    Reference:

    - [Hu et al., 2023](https://arxiv.org/abs/2301.12549), section 4
    - [Leino et al., 2021](https://arxiv.org/abs/2102.08452), for losses that
      use the measured constant
    """

    guarantee = "norm measured, not held"

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        padding: str = "same",
        data_format: str | None = None,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = None,
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        *,
        padding_mode: str = "circular",
        scale: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            2,
            Residual(check_scale(scale)),
            filters,
            kernel_size,
            padding=padding,
            data_format=data_format,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=small_initializer(kernel_initializer),
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            padding_mode=padding_mode,
            **kwargs,
        )

    @property
    def scale(self) -> float:
        """The factor of the convolution."""
        found: float = self.kernel_map.scale  # type: ignore[attr-defined]
        return found

    @scale.setter
    def scale(self, value: float) -> None:
        self.kernel_map.scale = check_scale(value)  # type: ignore[attr-defined]

    def get_config(self) -> Config:
        config = super().get_config()
        # A residual convolution has neither.
        return {
            name: value
            for name, value in config.items()
            if name not in ("strides", "dilation_rate")
        }
