"""The 2D convolution that the Cayley transform makes orthogonal."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_lip.layers.convolutional.fourier_conv import FourierConv
from keras_lip.linalg import complex_cayley
from keras_lip.types import Config
from keras_lip.types import Tensor
from keras_lip.validation import check_number


@keras.saving.register_keras_serializable(package="keras_lip")
class CayleyConv2D(FourierConv):
    """2D convolution that the Cayley transform makes orthogonal.

    A circular convolution multiplies each frequency of the image by a matrix of
    channels. The Cayley transform maps the matrix of the free kernel at each
    frequency to a unitary matrix, so the whole convolution is orthogonal. It
    preserves the l2 norm of its input if `filters` is at least `channels *
    prod(strides)`, and the norm of gradients if `filters` is at most that. It
    is 1-Lipschitz for all weights.

    The free kernel has the size of the window. The resulting convolution covers
    the whole image and depends on the image size, which is fixed when the layer
    is built. The same weights can be loaded for images of any size, and give an
    orthogonal convolution at that size.

    With `strides > 1` the layer first applies invertible downsampling: each
    block of pixels becomes the channels of one pixel, and the window covers the
    blocks that it touches.

    Args:
        filters: Positive integer. Number of output channels.
        kernel_size: Positive integer, or a pair: height and width of the
            window.
        strides: Positive integer, or a pair. Strides must divide the sides of
            the image. Defaults to `1`.
        padding: `"same"`, the only supported value. Defaults to `"same"`.
        data_format: `"channels_last"` or `"channels_first"`. Defaults to
            `None`, for `keras.config.image_data_format()`.
        activation: Activation function. Its Lipschitz constant must be known
            and multiplies the layer's bound. Defaults to `None`.
        use_bias: Boolean. Whether the layer adds a bias. Defaults to `True`.
        kernel_initializer: Initializer of the free kernel. Defaults to
            `"orthogonal"`.
        bias_initializer: Initializer of the bias. Defaults to `"zeros"`.
        kernel_regularizer: Regularizer of the free kernel. Defaults to `None`.
        bias_regularizer: Regularizer of the bias. Defaults to `None`.
        padding_mode: `"circular"`, the only supported value. Defaults to
            `"circular"`.
        scale: Float in (0, 1]. Factor of the outputs, before the bias is added.
            With a factor below one the layer is a contraction. Defaults to
            `1.0`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        ValueError: If an argument is out of range, the activation has no known
            bound, the image size is unknown when the layer is built, or strides
            do not divide it.

    Input shape:
        `(batch_size, height, width, channels)`, or with `"channels_first"`
        `(batch_size, channels, height, width)`.

    Output shape:
        `(batch_size, height // stride, width // stride, filters)`, or with
        `"channels_first"` the channels come second.

    Example:

    >>> layer = keras_lip.layers.CayleyConv2D(8, 3)
    >>> tuple(layer(np.ones((2, 6, 6, 4))).shape)
    (2, 6, 6, 8)

    Reference:

    - [Trockman & Kolter, 2021](https://arxiv.org/abs/2104.07167), Algorithm 1
    """

    guarantee = "orthogonal"

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str = "same",
        data_format: str | None = None,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        *,
        padding_mode: str = "circular",
        scale: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            filters,
            kernel_size,
            strides=strides,
            padding=padding,
            data_format=data_format,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            padding_mode=padding_mode,
            **kwargs,
        )
        self.scale = check_number("scale", scale, 0, 1, open_low=True)

    def _constrain_spectrum(
        self, real: Tensor, imaginary: Tensor
    ) -> tuple[Tensor, Tensor]:
        real, imaginary = complex_cayley(real, imaginary)
        return self.scale * real, self.scale * imaginary

    def get_config(self) -> Config:
        return {**super().get_config(), "scale": self.scale}
