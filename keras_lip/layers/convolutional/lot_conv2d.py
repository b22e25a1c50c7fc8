"""The 2D convolution divided by the square root of its Gram matrix."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_lip.layers.convolutional.fourier_conv import FourierConv
from keras_lip.linalg import complex_polar
from keras_lip.types import Config
from keras_lip.types import Tensor
from keras_lip.validation import check_positive_integer


@keras.saving.register_keras_serializable(package="keras_lip")
class LOTConv2D(FourierConv):
    """2D convolution that the inverse root of its Gram matrix makes orthogonal.

    A circular convolution multiplies each frequency of the image by a matrix of
    channels. Let `V` be the matrix of the free kernel at a frequency. The layer
    replaces it by `V (V^H V)^(-1/2)`, which Newton's iteration computes
    (layer-wise orthogonal training, LOT). If every `V` has full rank, and with
    enough iterations, the convolution is orthogonal: it preserves the l2 norm
    of its input if `filters` is at least `channels * prod(strides)`, and the
    norm of gradients if `filters` is at most that. The iteration increases
    singular values towards one, so the layer is 1-Lipschitz after any number of
    iterations. Each iteration takes three matrix products at every frequency.
    The layer is several times as expensive as `CayleyConv2D`.

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
        iterations: Positive integer. Number of steps of Newton's iteration. The
            paper uses 10. Defaults to `10`.
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

    >>> layer = keras_lip.layers.LOTConv2D(8, 3)
    >>> tuple(layer(np.ones((2, 6, 6, 4))).shape)
    (2, 6, 6, 8)

    Reference:

    - [Xu et al., 2022](https://arxiv.org/abs/2210.11620), section 4
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
        iterations: int = 10,
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
        self.iterations = check_positive_integer("iterations", iterations)

    def _constrain_spectrum(
        self, real: Tensor, imaginary: Tensor
    ) -> tuple[Tensor, Tensor]:
        return complex_polar(real, imaginary, self.iterations)

    def get_config(self) -> Config:
        return {**super().get_config(), "iterations": self.iterations}
