"""One-dimensional orthogonal convolution."""

from typing import Any

import keras

from keras_lip.layers.convolutional.bcop_kernel import BCOPKernel
from keras_lip.layers.convolutional.kernel_conv import KernelConv


@keras.saving.register_keras_serializable(package="keras_lip")
class BCOPConv1D(BCOPKernel, KernelConv):
    """1D convolution that is orthogonal.

    Projectors `P` on half of the channels make two-tap kernels `[P, I - P]`,
    one after the other, and an orthogonal matrix mixes the channels at the end
    (block convolution orthogonal parameterization, BCOP). With strides, that
    matrix acts on windows of their length, which do not overlap. All of this is
    one kernel of `kernel_size`, assembled in a tree.

    With circular padding, whatever the strides or the dilation, all singular
    values of the convolution are one: it preserves the norm of its inputs if
    `filters` is at least the number of input channels times the strides, and
    that of gradients if it is at most that. With zero padding or `"valid"`,
    which cut its ends off, it is 1-Lipschitz. The norm is l2.

    Args:
        filters: Positive integer. Number of channels of the output.
        kernel_size: Positive integer. Length of the window, at least the
            strides.
        parametrization: Name, config or instance of an orthogonal
            `keras_lip.parametrizations.Parametrization`, for the matrix and the
            bases of the projectors. Defaults to `"cayley"`, which is orthogonal
            whatever the weights, as `"exponential"` and `"qr"` are. With
            `"bjorck"` and `"cholesky"` the free matrices must have full rank.
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
        kernel_initializer: Initializer of the free matrices.
        bias_initializer: Initializer of the bias.
        kernel_regularizer: Regularizer of the free matrices.
        bias_regularizer: Regularizer of the bias.
        **kwargs: Passed to `keras.layers.Layer`.

    Raises:
        ValueError: If an argument is out of range, the parametrization is
            unknown or not orthogonal, no bound of the activation is known, the
            kernel is smaller than the strides, or strides do not divide the
            length of a sequence with circular padding.

    Input shape:
        `(batch_size, steps, channels)`, or with `"channels_first"`
        `(batch_size, channels, steps)`.

    Output shape:
        As that of `keras.layers.Conv1D`.

    Example:

    >>> layer = keras_lip.layers.BCOPConv1D(8, 3)
    >>> tuple(layer(np.ones((2, 6, 4))).shape)
    (2, 6, 8)

    Reference:

    - [Li et al., 2019](https://arxiv.org/abs/1911.00937), equation 4
    - [Boissin et al., 2025](https://arxiv.org/abs/2501.07930), for strides
    """

    def __init__(self, filters: int, kernel_size: int, **kwargs: Any) -> None:
        super().__init__(1, filters, kernel_size, **kwargs)
