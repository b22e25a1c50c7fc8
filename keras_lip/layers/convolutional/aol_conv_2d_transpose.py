"""Two-dimensional transposed convolution with almost-orthogonal rescaling."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_lip.layers.convolutional.aol_kernel import AOLKernel
from keras_lip.layers.convolutional.kernel_conv_transpose import (
    KernelConvTranspose,
)


@keras.saving.register_keras_serializable(package="keras_lip")
class AOLConv2DTranspose(AOLKernel, KernelConvTranspose):
    """Adjoint of a 2D convolution rescaled to a norm of at most one.

    The layer is to `AOLConv2D` what `keras.layers.Conv2DTranspose` is to
    `Conv2D`: it goes the way back, from images of the shape of its outputs to
    images of the shape of its inputs, of the same kernel. An operator has the
    norm of its adjoint. The layer is therefore 1-Lipschitz in the l2 norm by
    construction, for images of any size and either padding.

    Args:
        filters: Positive integer. Number of channels of the output.
        kernel_size: Positive integer, or a pair of them: height and width.
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
        kernel_initializer: Initializer of the free kernel.
        bias_initializer: Initializer of the bias.
        kernel_regularizer: Regularizer of the free kernel.
        bias_regularizer: Regularizer of the bias.
        **kwargs: Passed to `keras.layers.Layer`.

    Raises:
        ValueError: If an argument is out of range or no bound of the activation
            is known.

    Input shape:
        `(batch_size, height, width, channels)`, or with `"channels_first"`
        `(batch_size, channels, height, width)`.

    Output shape:
        As that of `keras.layers.Conv2DTranspose`.

    Example:

    >>> layer = keras_lip.layers.AOLConv2DTranspose(2, 3, strides=2)
    >>> tuple(layer(np.ones((2, 3, 3, 8))).shape)
    (2, 6, 6, 2)

    Reference:

    - [Prach & Lampert, 2022](https://arxiv.org/abs/2208.03160), Theorem 2
    """

    def __init__(
        self, filters: int, kernel_size: int | Sequence[int], **kwargs: Any
    ) -> None:
        super().__init__(2, filters, kernel_size, **kwargs)
