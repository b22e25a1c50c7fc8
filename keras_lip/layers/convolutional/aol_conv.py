"""Convolutions with almost-orthogonal (AOL) rescaling."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_lip.layers.convolutional.explicit_conv import ExplicitConv
from keras_lip.layers.convolutional.kernel_maps import AOL


@keras.saving.register_keras_serializable(package="keras_lip")
class AOLConv1D(ExplicitConv):
    """1D convolution with channels rescaled to give a norm of at most one.

    Each output channel of the kernel is divided by the square root of the sum
    of the absolute values of its correlations with all output channels (almost
    orthogonal layers, AOL). If there are more output channels than input
    channels, the input channels are divided instead. The layer is 1-Lipschitz
    in the l2 norm by construction, for sequences of any length and any padding.
    It is orthogonal if the channels are orthogonal, and training with a margin
    loss tends to make them orthogonal.

    Args:
        filters: Positive integer. Number of output channels.
        kernel_size: Positive integer. Length of the window.
        strides: Positive integer. With circular padding, it must divide the
            length of the sequence. Defaults to `1`.
        padding: `"same"` or `"valid"`. Defaults to `"same"`.
        data_format: `"channels_last"` or `"channels_first"`. Defaults to
            `None`, for `keras.config.image_data_format()`.
        dilation_rate: Positive integer. Incompatible with `strides > 1`.
            Defaults to `1`.
        groups: Positive integer that divides `filters` and the number of input
            channels. Defaults to `1`.
        activation: Activation function. Its Lipschitz constant must be known
            and multiplies the layer's bound. Defaults to `None`.
        use_bias: Boolean. Whether the layer adds a bias. Defaults to `True`.
        kernel_initializer: Initializer of the free kernel. Defaults to
            `"orthogonal"`.
        bias_initializer: Initializer of the bias. Defaults to `"zeros"`.
        kernel_regularizer: Regularizer of the free kernel. Defaults to `None`.
        bias_regularizer: Regularizer of the bias. Defaults to `None`.
        padding_mode: `"circular"` or `"zeros"`. Values of the padding with
            `"same"`: steps of the other end of the sequence, or zeros. Defaults
            to `"circular"`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        ValueError: If an argument is out of range, the activation has no known
            bound, or strides do not divide the length of a sequence with
            circular padding.

    Input shape:
        `(batch_size, steps, channels)`, or with `"channels_first"`
        `(batch_size, channels, steps)`.

    Output shape:
        `(batch_size, new_steps, filters)`, or with `"channels_first"`
        `(batch_size, filters, new_steps)`. With `"same"`, `new_steps` is
        `ceil(steps / strides)`.

    Example:

    >>> layer = keras_lip.layers.AOLConv1D(8, 3)
    >>> tuple(layer(np.ones((2, 6, 4))).shape)
    (2, 6, 8)

    Reference:

    - [Prach & Lampert, 2022](https://arxiv.org/abs/2208.03160), Theorem 2
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        strides: int = 1,
        padding: str = "same",
        data_format: str | None = None,
        dilation_rate: int = 1,
        groups: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        *,
        padding_mode: str = "circular",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            1,
            AOL(),
            filters,
            kernel_size,
            strides=strides,
            padding=padding,
            data_format=data_format,
            dilation_rate=dilation_rate,
            groups=groups,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            padding_mode=padding_mode,
            **kwargs,
        )


@keras.saving.register_keras_serializable(package="keras_lip")
class AOLConv2D(ExplicitConv):
    """2D convolution with channels rescaled to give a norm of at most one.

    Each output channel of the kernel is divided by the square root of the sum
    of the absolute values of its correlations with all output channels (almost
    orthogonal layers, AOL). If there are more output channels than input
    channels, the input channels are divided instead. The layer is 1-Lipschitz
    in the l2 norm by construction, for images of any size and any padding. It
    is orthogonal if the channels are orthogonal, and training with a margin
    loss tends to make them orthogonal.

    Args:
        filters: Positive integer. Number of output channels.
        kernel_size: Positive integer, or a pair: height and width of the
            window.
        strides: Positive integer, or a pair. With circular padding, strides
            must divide the sides of the image. Defaults to `1`.
        padding: `"same"` or `"valid"`. Defaults to `"same"`.
        data_format: `"channels_last"` or `"channels_first"`. Defaults to
            `None`, for `keras.config.image_data_format()`.
        dilation_rate: Positive integer, or a pair. Incompatible with `strides >
            1`. Defaults to `1`.
        groups: Positive integer that divides `filters` and the number of input
            channels. Defaults to `1`.
        activation: Activation function. Its Lipschitz constant must be known
            and multiplies the layer's bound. Defaults to `None`.
        use_bias: Boolean. Whether the layer adds a bias. Defaults to `True`.
        kernel_initializer: Initializer of the free kernel. Defaults to
            `"orthogonal"`.
        bias_initializer: Initializer of the bias. Defaults to `"zeros"`.
        kernel_regularizer: Regularizer of the free kernel. Defaults to `None`.
        bias_regularizer: Regularizer of the bias. Defaults to `None`.
        padding_mode: `"circular"` or `"zeros"`. Values of the padding with
            `"same"`: pixels of the opposite side of the image, or zeros.
            Defaults to `"circular"`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        ValueError: If an argument is out of range, the activation has no known
            bound, or strides do not divide the sides of an image with circular
            padding.

    Input shape:
        `(batch_size, height, width, channels)`, or with `"channels_first"`
        `(batch_size, channels, height, width)`.

    Output shape:
        `(batch_size, new_height, new_width, filters)`, or with
        `"channels_first"` `(batch_size, filters, new_height, new_width)`.
        With `"same"`, a side is `ceil(side / stride)`.

    Example:

    >>> layer = keras_lip.layers.AOLConv2D(8, 3, strides=2)
    >>> tuple(layer(np.ones((2, 6, 6, 4))).shape)
    (2, 3, 3, 8)

    Reference:

    - [Prach & Lampert, 2022](https://arxiv.org/abs/2208.03160), Theorem 2
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str = "same",
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
        groups: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        *,
        padding_mode: str = "circular",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            2,
            AOL(),
            filters,
            kernel_size,
            strides=strides,
            padding=padding,
            data_format=data_format,
            dilation_rate=dilation_rate,
            groups=groups,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            padding_mode=padding_mode,
            **kwargs,
        )


@keras.saving.register_keras_serializable(package="keras_lip")
class AOLConv2DTranspose(ExplicitConv):
    """Adjoint of a 2D convolution whose channels are rescaled.

    The layer relates to `AOLConv2D` as `keras.layers.Conv2DTranspose` to
    `Conv2D`: with the same kernel, it maps images of the outputs back to images
    of the inputs. An operator and its adjoint have the same norm, so the layer
    is 1-Lipschitz in the l2 norm by construction, for images of any size and
    any padding.

    Args:
        filters: Positive integer. Number of output channels.
        kernel_size: Positive integer, or a pair: height and width of the
            window.
        strides: Positive integer, or a pair. The sides of the outputs are the
            sides of the inputs times the strides. Defaults to `1`.
        padding: `"same"`, or `"valid"` to keep all pixels that a window
            touches. Defaults to `"same"`.
        data_format: `"channels_last"` or `"channels_first"`. Defaults to
            `None`, for `keras.config.image_data_format()`.
        dilation_rate: Positive integer, or a pair. Incompatible with `strides >
            1`. Defaults to `1`.
        activation: Activation function. Its Lipschitz constant must be known
            and multiplies the layer's bound. Defaults to `None`.
        use_bias: Boolean. Whether the layer adds a bias. Defaults to `True`.
        kernel_initializer: Initializer of the free kernel. Defaults to
            `"orthogonal"`.
        bias_initializer: Initializer of the bias. Defaults to `"zeros"`.
        kernel_regularizer: Regularizer of the free kernel. Defaults to `None`.
        bias_regularizer: Regularizer of the bias. Defaults to `None`.
        padding_mode: `"circular"` or `"zeros"`. With `"same"`, pixels outside
            the image are added at the opposite side, or dropped. Defaults to
            `"circular"`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        ValueError: If an argument is out of range or the activation has no
            known bound.

    Input shape:
        `(batch_size, height, width, channels)`, or with `"channels_first"`
        `(batch_size, channels, height, width)`.

    Output shape:
        `(batch_size, new_height, new_width, filters)`, or with
        `"channels_first"` `(batch_size, filters, new_height, new_width)`.
        With `"same"`, a side is the side of the inputs times the stride.

    Example:

    >>> layer = keras_lip.layers.AOLConv2DTranspose(2, 3, strides=2)
    >>> tuple(layer(np.ones((2, 3, 3, 8))).shape)
    (2, 6, 6, 2)

    Reference:

    - [Prach & Lampert, 2022](https://arxiv.org/abs/2208.03160), Theorem 2
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str = "same",
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        *,
        padding_mode: str = "circular",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            2,
            AOL(),
            filters,
            kernel_size,
            strides=strides,
            padding=padding,
            data_format=data_format,
            dilation_rate=dilation_rate,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            padding_mode=padding_mode,
            transposed=True,
            **kwargs,
        )
