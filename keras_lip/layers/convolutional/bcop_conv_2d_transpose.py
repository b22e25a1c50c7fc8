"""Two-dimensional orthogonal transposed convolution."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_lip.layers.convolutional.bcop_kernel import BCOPKernel
from keras_lip.layers.convolutional.kernel_conv_transpose import (
    KernelConvTranspose,
)


@keras.saving.register_keras_serializable(package="keras_lip")
class BCOPConv2DTranspose(BCOPKernel, KernelConvTranspose):
    """Adjoint of an orthogonal 2D convolution.

    The layer is to `BCOPConv2D` what `keras.layers.Conv2DTranspose` is to
    `Conv2D`: it goes the way back, from images of the shape of its outputs to
    images of the shape of its inputs, of the same kernel. An operator has the
    singular values of its adjoint.

    With circular padding, whatever the strides or the dilation, all singular
    values of the layer are one: it preserves the norm of its inputs if these
    have at most `filters` channels times both strides, and that of gradients if
    they have at least as many. So it does with `"valid"`, but for gradients:
    there are more outputs. With zero padding, which cuts the rim off, it is
    1-Lipschitz. The norm is l2.

    Args:
        filters: Positive integer. Number of channels of the output.
        kernel_size: Positive integer, or a pair of them: height and width. At
            least the strides.
        parametrization: Name, config or instance of an orthogonal
            `keras_lip.parametrizations.Parametrization`, for the matrix and the
            bases of the projectors. Defaults to `"cayley"`, which is orthogonal
            whatever the weights, as `"exponential"` and `"qr"` are. With
            `"bjorck"` and `"cholesky"` the free matrices must have full rank.
        strides: Positive integer, or a pair.
        padding: `"same"`, for outputs whose sides are those of the inputs times
            the strides, or `"valid"`, for all pixels that a window meets.
        padding_mode: `"circular"` or `"zeros"`. What lies outside of `"same"`
            is added at the opposite side with the former, and cut off with the
            latter.
        data_format: `"channels_last"` or `"channels_first"`. Defaults to that
            of the Keras configuration.
        dilation_rate: Positive integer, or a pair. One where strides are not.
        activation: Activation function of a known Lipschitz bound, which
            counts in that of the layer. Defaults to none.
        use_bias: Boolean. Whether the layer adds a bias vector.
        kernel_initializer: Initializer of the free matrices.
        bias_initializer: Initializer of the bias.
        kernel_regularizer: Regularizer of the free matrices.
        bias_regularizer: Regularizer of the bias.
        **kwargs: Passed to `keras.layers.Layer`.

    Raises:
        ValueError: If an argument is out of range, the parametrization is
            unknown or not orthogonal, no bound of the activation is known, or
            the kernel is smaller than the strides.

    Input shape:
        `(batch_size, height, width, channels)`, or with `"channels_first"`
        `(batch_size, channels, height, width)`.

    Output shape:
        As that of `keras.layers.Conv2DTranspose`.

    Example:

    >>> layer = keras_lip.layers.BCOPConv2DTranspose(2, 3, strides=2)
    >>> tuple(layer(np.ones((2, 3, 3, 8))).shape)
    (2, 6, 6, 2)

    Reference:

    - [Li et al., 2019](https://arxiv.org/abs/1911.00937), equation 5 and
      Algorithm 1
    - [Boissin et al., 2025](https://arxiv.org/abs/2501.07930), for strides and
      transposed convolutions
    """

    def __init__(
        self, filters: int, kernel_size: int | Sequence[int], **kwargs: Any
    ) -> None:
        super().__init__(2, filters, kernel_size, **kwargs)
