"""One-dimensional convolution with an orthogonal reshaped kernel."""

from typing import Any

import keras

from keras_lip.layers.convolutional.kernel_conv import KernelConv
from keras_lip.layers.convolutional.rko_kernel import RKOKernel


@keras.saving.register_keras_serializable(package="keras_lip")
class RKOConv1D(RKOKernel, KernelConv):
    """1D convolution whose kernel is orthogonal as a matrix.

    The kernel, reshaped to a matrix of `kernel_size * in_channels` rows and
    `filters` columns, is made orthogonal and divided by the square root of the
    number of windows that a step lies in (reshaped kernel orthogonalization,
    RKO). The layer is 1-Lipschitz in the l2 norm, for sequences of any length
    and either padding. The convolution itself is orthogonal if the kernel size
    is that of the strides, so that windows do not overlap; it shrinks some
    directions otherwise.

    Args:
        filters: Positive integer. Number of channels of the output.
        kernel_size: Positive integer. Length of the window.
        parametrization: Name, config or instance of an orthogonal
            `keras_lip.parametrizations.Parametrization`. Defaults to
            `"bjorck"`, which is orthogonal if the free kernel has full rank;
            `"cayley"` gives the layer known as CRKO.
        strides: Positive integer. With circular padding, it must divide the
            length of the sequence.
        padding: `"same"` or `"valid"`.
        padding_mode: `"circular"` or `"zeros"`: what `"same"` pads with.
        data_format: `"channels_last"` or `"channels_first"`. Defaults to that
            of the Keras configuration.
        dilation_rate: Positive integer. One where strides are not.
        groups: Positive integer. Number of groups of channels.
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
            unknown or not orthogonal, no bound of the activation is known, or
            strides do not divide the length of a sequence with circular
            padding.

    Input shape:
        `(batch_size, steps, channels)`, or with `"channels_first"`
        `(batch_size, channels, steps)`.

    Output shape:
        As that of `keras.layers.Conv1D`.

    Example:

    >>> layer = keras_lip.layers.RKOConv1D(8, 2, strides=2)
    >>> tuple(layer(np.ones((2, 6, 4))).shape)
    (2, 3, 8)

    Reference:

    - [Serrurier et al., 2021](https://arxiv.org/abs/2006.06520), appendix
    - [Li et al., 2019](https://arxiv.org/abs/1911.00937), section 6
    """

    def __init__(self, filters: int, kernel_size: int, **kwargs: Any) -> None:
        super().__init__(1, filters, kernel_size, **kwargs)
