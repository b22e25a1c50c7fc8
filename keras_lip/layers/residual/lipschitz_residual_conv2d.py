"""Linear residual convolution, whose norm is measured."""

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
    """2D convolution added to its input, of a norm that is measured.

    The layer computes `activation(x + scale * gamma * (W x) + bias)`, where `W`
    is a convolution without strides, `gamma` a trained factor of each output
    channel, and `scale` a fixed number (the linear residual block of LiResNet).
    This is one convolution: its kernel is `scale * gamma * W`, plus the
    identity at the tap that meets the pixel itself, and runs as one. Where
    `filters` differs from the number of input channels, channels of zeros are
    appended to `x`, or its last channels dropped.

    **The layer is not 1-Lipschitz.** Its norm is not held at one:
    `lipschitz_bound` proves that of the kernel that runs, in the l2 norm, for
    images of any size and either padding, so that a model of such layers is
    certified with the constant that it has. A loss such as
    `keras_lip.losses.EMMA` trains with an estimate of the norm, by 10
    iterations of the power method in each training step, from the image where
    the last one ended, which is a non-trainable weight. Without such a loss
    nothing holds the norm.

    Args:
        filters: Positive integer. Number of output channels, mostly that of the
            input.
        kernel_size: Positive integer, or a pair: height and width of the
            window.
        padding: `"same"` or `"valid"`, which cuts the border of the input off
            as well. Defaults to `"same"`.
        data_format: `"channels_last"` or `"channels_first"`. Defaults to
            `None`, for `keras.config.image_data_format()`.
        activation: Activation function. Its Lipschitz constant must be known
            and multiplies the layer's bound. Defaults to `None`.
        use_bias: Boolean. Whether the layer adds a bias. Defaults to `True`.
        kernel_initializer: Initializer of the kernel `W`. Defaults to `None`,
            for a truncated normal distribution whose standard deviation is a
            tenth of the inverse root of the fan-in: near the identity.
        bias_initializer: Initializer of the bias. Defaults to `"zeros"`.
        kernel_regularizer: Regularizer of the kernel `W`. Defaults to `None`.
        bias_regularizer: Regularizer of the bias. Defaults to `None`.
        padding_mode: `"circular"` or `"zeros"`. What `"same"` pads with: the
            opposite side of the image, or zeros. Defaults to `"circular"`.
        scale: Float. Factor of the convolution; the paper has one over the root
            of the number of such layers. Defaults to `1.0`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        ValueError: If an argument is out of range, or the activation has no
            known bound.

    Input shape:
        `(batch_size, height, width, channels)`, or with `"channels_first"`
        `(batch_size, channels, height, width)`.

    Output shape:
        `(batch_size, height, width, filters)`, or with `"channels_first"`
        `(batch_size, filters, height, width)`. With `"valid"` the sides are
        smaller by those of the window less one.

    Example:

    >>> layer = keras_lip.layers.LipschitzResidualConv2D(4, 3, scale=0.5)
    >>> tuple(layer(np.ones((2, 6, 6, 4))).shape)
    (2, 6, 6, 4)

    Reference:

    - [Hu et al., 2023](https://arxiv.org/abs/2301.12549), section 4
    - [Leino et al., 2021](https://arxiv.org/abs/2102.08452), for losses of the
      measured constant
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
        # An identity has neither.
        return {
            name: value
            for name, value in config.items()
            if name not in ("strides", "dilation_rate")
        }
