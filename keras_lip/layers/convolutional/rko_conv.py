"""Convolutions with an orthogonal reshaped kernel."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_lip.layers.convolutional.explicit_conv import ExplicitConv
from keras_lip.layers.convolutional.kernel_maps import RKO
from keras_lip.parametrizations import Parametrization
from keras_lip.types import Config


@keras.saving.register_keras_serializable(package="keras_lip")
class RKOConv1D(ExplicitConv):
    """1D convolution whose kernel is orthogonal as a matrix.

    The kernel, reshaped to a matrix of `kernel_size * in_channels` rows and
    `filters` columns, is made orthogonal and divided by the square root of the
    number of windows that a step lies in (reshaped kernel orthogonalization,
    RKO). The layer is 1-Lipschitz in the l2 norm, for sequences of any length
    and any padding. It is orthogonal if `kernel_size` equals `strides`,
    because windows then do not overlap. Otherwise it shrinks some directions.

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
        parametrization: Name, config or instance of an orthogonal
            `keras_lip.parametrizations.Parametrization`. Defaults to
            `"bjorck"`, which is orthogonal if the free kernel has full rank;
            `"cayley"` gives the layer known as CRKO.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        ValueError: If an argument is out of range, the parametrization is
            unknown or not orthogonal, the activation has no known bound, or
            strides do not divide the length of a sequence with circular
            padding.

    Input shape:
        `(batch_size, steps, channels)`, or with `"channels_first"`
        `(batch_size, channels, steps)`.

    Output shape:
        `(batch_size, new_steps, filters)`, or with `"channels_first"`
        `(batch_size, filters, new_steps)`. With `"same"`, `new_steps` is
        `ceil(steps / strides)`.

    Example:

    >>> layer = keras_lip.layers.RKOConv1D(8, 2, strides=2)
    >>> tuple(layer(np.ones((2, 6, 4))).shape)
    (2, 3, 8)

    Reference:

    - [Serrurier et al., 2021](https://arxiv.org/abs/2006.06520), appendix
    - [Li et al., 2019](https://arxiv.org/abs/1911.00937), section 4.1
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
        parametrization: str | Config | Parametrization = "bjorck",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            1,
            RKO(parametrization),
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
class RKOConv2D(ExplicitConv):
    """2D convolution whose kernel is orthogonal as a matrix.

    The kernel, reshaped to a matrix of `height * width * in_channels` rows and
    `filters` columns, is made orthogonal and divided by the square root of the
    number of windows that a pixel lies in (reshaped kernel orthogonalization,
    RKO). The layer is 1-Lipschitz in the l2 norm, for images of any size and
    any padding. It is orthogonal if `kernel_size` equals `strides`, because
    windows then do not overlap. Otherwise it shrinks some directions.

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
        parametrization: Name, config or instance of an orthogonal
            `keras_lip.parametrizations.Parametrization`. Defaults to
            `"bjorck"`, which is orthogonal if the free kernel has full rank;
            `"cayley"` gives the layer known as CRKO.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        ValueError: If an argument is out of range, the parametrization is
            unknown or not orthogonal, the activation has no known bound, or
            strides do not divide the sides of an image with circular padding.

    Input shape:
        `(batch_size, height, width, channels)`, or with `"channels_first"`
        `(batch_size, channels, height, width)`.

    Output shape:
        `(batch_size, new_height, new_width, filters)`, or with
        `"channels_first"` `(batch_size, filters, new_height, new_width)`.
        With `"same"`, a side is `ceil(side / stride)`.

    Example:

    >>> layer = keras_lip.layers.RKOConv2D(16, 2, strides=2)
    >>> tuple(layer(np.ones((2, 6, 6, 4))).shape)
    (2, 3, 3, 16)

    Reference:

    - [Serrurier et al., 2021](https://arxiv.org/abs/2006.06520), appendix
    - [Li et al., 2019](https://arxiv.org/abs/1911.00937), section 4.1
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
        parametrization: str | Config | Parametrization = "bjorck",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            2,
            RKO(parametrization),
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
class RKOConv2DTranspose(ExplicitConv):
    """Adjoint of a 2D convolution whose kernel is orthogonal as a matrix.

    The layer relates to `RKOConv2D` as `keras.layers.Conv2DTranspose` to
    `Conv2D`. The kernel, reshaped to a matrix of `height * width * filters`
    rows and a column for each input channel, is made orthogonal and divided by
    the square root of the number of windows that a pixel lies in. An operator
    and its adjoint have the same norm, so the layer is 1-Lipschitz in the l2
    norm, for images of any size and any padding.

    If `kernel_size` equals `strides`, windows do not overlap. The layer then
    preserves the norm of inputs with at most `height * width * filters`
    channels, and the norm of gradients if there are at least that many
    channels. Otherwise it shrinks some directions.

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
        parametrization: Name, config or instance of an orthogonal
            `keras_lip.parametrizations.Parametrization`. Defaults to
            `"bjorck"`, which is orthogonal if the free kernel has full rank;
            `"cayley"` gives the layer known as CRKO.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        ValueError: If an argument is out of range, the parametrization is
            unknown or not orthogonal, or the activation has no known bound.

    Input shape:
        `(batch_size, height, width, channels)`, or with `"channels_first"`
        `(batch_size, channels, height, width)`.

    Output shape:
        `(batch_size, new_height, new_width, filters)`, or with
        `"channels_first"` `(batch_size, filters, new_height, new_width)`.
        With `"same"`, a side is the side of the inputs times the stride.

    Example:

    >>> layer = keras_lip.layers.RKOConv2DTranspose(2, 2, strides=2)
    >>> tuple(layer(np.ones((2, 3, 3, 8))).shape)
    (2, 6, 6, 2)

    Reference:

    - [Serrurier et al., 2021](https://arxiv.org/abs/2006.06520), appendix
    - [Li et al., 2019](https://arxiv.org/abs/1911.00937), section 4.1
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
        parametrization: str | Config | Parametrization = "bjorck",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            2,
            RKO(parametrization),
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
