"""Two-dimensional transposed convolution with an orthogonal reshaped kernel."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_lip.layers.convolutional.kernel_conv_transpose import (
    KernelConvTranspose,
)
from keras_lip.layers.convolutional.rko_kernel import RKOKernel


@keras.saving.register_keras_serializable(package="keras_lip")
class RKOConv2DTranspose(RKOKernel, KernelConvTranspose):
    """Adjoint of a 2D convolution whose kernel is orthogonal as a matrix.

    The layer is to `RKOConv2D` what `keras.layers.Conv2DTranspose` is to
    `Conv2D`: the kernel, reshaped to a matrix of `height * width * filters`
    rows and a column for each input channel, is made orthogonal and divided by
    the square root of the number of windows that a pixel lies in. An operator
    has the norm of its adjoint. The layer is therefore 1-Lipschitz in the l2
    norm, for images of any size and either padding.

    If the kernel size is that of the strides, so that windows do not overlap,
    the layer preserves the norm of its inputs where these have at most
    `height * width * filters` channels, and that of gradients where they have
    at least as many. It shrinks some directions otherwise.

    Args:
        filters: Positive integer. Number of channels of the output.
        kernel_size: Positive integer, or a pair of them: height and width.
        parametrization: Name, config or instance of an orthogonal
            `keras_lip.parametrizations.Parametrization`. Defaults to
            `"bjorck"`, which is orthogonal if the free kernel has full rank.
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
        ValueError: If an argument is out of range, the parametrization is
            unknown or not orthogonal, or no bound of the activation is known.

    Input shape:
        `(batch_size, height, width, channels)`, or with `"channels_first"`
        `(batch_size, channels, height, width)`.

    Output shape:
        As that of `keras.layers.Conv2DTranspose`.

    Example:

    >>> layer = keras_lip.layers.RKOConv2DTranspose(2, 2, strides=2)
    >>> tuple(layer(np.ones((2, 3, 3, 8))).shape)
    (2, 6, 6, 2)

    Reference:

    - [Serrurier et al., 2021](https://arxiv.org/abs/2006.06520), appendix
    - [Li et al., 2019](https://arxiv.org/abs/1911.00937), section 6
    """

    def __init__(
        self, filters: int, kernel_size: int | Sequence[int], **kwargs: Any
    ) -> None:
        super().__init__(2, filters, kernel_size, **kwargs)
