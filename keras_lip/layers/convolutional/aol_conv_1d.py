"""One-dimensional convolution with almost-orthogonal rescaling."""

from typing import Any

import keras

from keras_lip.layers.convolutional.aol_kernel import AOLKernel
from keras_lip.layers.convolutional.kernel_conv import KernelConv


@keras.saving.register_keras_serializable(package="keras_lip")
class AOLConv1D(AOLKernel, KernelConv):
    """1D convolution whose channels are rescaled to a norm of at most one.

    Each output channel of the kernel is divided by the square root of the sum
    of the moduli of its correlations with all output channels (almost
    orthogonal layers, AOL); where they outnumber the input channels, it is
    those that are divided. The layer is 1-Lipschitz in the l2 norm by
    construction, for sequences of any length and either padding; it is
    orthogonal if the channels are, which training with a margin loss draws them
    to.

    Args:
        filters: Positive integer. Number of channels of the output.
        kernel_size: Positive integer. Length of the window.
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
        ValueError: If an argument is out of range, no bound of the activation
            is known, or strides do not divide the length of a sequence with
            circular padding.

    Input shape:
        `(batch_size, steps, channels)`, or with `"channels_first"`
        `(batch_size, channels, steps)`.

    Output shape:
        As that of `keras.layers.Conv1D`.

    Example:

    >>> layer = keras_lip.layers.AOLConv1D(8, 3)
    >>> tuple(layer(np.ones((2, 6, 4))).shape)
    (2, 6, 8)

    Reference:

    - [Prach & Lampert, 2022](https://arxiv.org/abs/2208.03160), Theorem 2
    """

    def __init__(self, filters: int, kernel_size: int, **kwargs: Any) -> None:
        super().__init__(1, filters, kernel_size, **kwargs)
