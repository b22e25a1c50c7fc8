"""Orthogonal convolutions."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_lip.layers.convolutional.explicit_conv import ExplicitConv
from keras_lip.layers.convolutional.kernel_maps import BCOP
from keras_lip.parametrizations import Parametrization
from keras_lip.types import Config


@keras.saving.register_keras_serializable(package="keras_lip")
class BCOPConv1D(ExplicitConv):
    """1D convolution that is orthogonal.

    Projectors `P` on half of the channels define two-tap kernels `[P, I - P]`.
    The layer applies several of them, one after the other, and then an
    orthogonal matrix that mixes the channels (block convolution orthogonal
    parameterization, BCOP). With strides, the matrix acts on non-overlapping
    windows of length `strides`. The layer composes all factors into one kernel
    of `kernel_size`.

    With circular padding, all singular values of the convolution are one, for
    every stride and dilation. It preserves the norm of its inputs if `filters`
    is at least `channels * strides`, and the norm of gradients if `filters` is
    at most that. With zero or valid padding it is 1-Lipschitz (l2), not
    orthogonal.

    Args:
        filters: Positive integer. Number of output channels.
        kernel_size: Positive integer. Length of the window, at least `strides`.
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
        kernel_initializer: Initializer of the free matrices. Defaults to
            `"orthogonal"`.
        bias_initializer: Initializer of the bias. Defaults to `"zeros"`.
        kernel_regularizer: Regularizer of the free matrices. Defaults to
            `None`.
        bias_regularizer: Regularizer of the bias. Defaults to `None`.
        padding_mode: `"circular"` or `"zeros"`. Values of the padding with
            `"same"`: steps of the other end of the sequence, or zeros. Defaults
            to `"circular"`.
        parametrization: Name, config or instance of an orthogonal
            `keras_lip.parametrizations.Parametrization`, for the matrix and the
            bases of the projectors. Defaults to `"cayley"`. `"cayley"`,
            `"exponential"` and `"qr"` are orthogonal for all weights. With
            `"bjorck"` and `"cholesky"` the free matrices must have full rank.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        ValueError: If an argument is out of range, the parametrization is
            unknown or not orthogonal, the activation has no known bound, the
            window is smaller than the strides, or strides do not divide the
            length of a sequence with circular padding.

    Input shape:
        `(batch_size, steps, channels)`, or with `"channels_first"`
        `(batch_size, channels, steps)`.

    Output shape:
        `(batch_size, new_steps, filters)`, or with `"channels_first"`
        `(batch_size, filters, new_steps)`. With `"same"`, `new_steps` is
        `ceil(steps / strides)`.

    Example:

    >>> layer = keras_lip.layers.BCOPConv1D(8, 3)
    >>> tuple(layer(np.ones((2, 6, 4))).shape)
    (2, 6, 8)

    Reference:

    - [Li et al., 2019](https://arxiv.org/abs/1911.00937), equation 5 and
      Algorithm 1
    - [Boissin et al., 2025](https://arxiv.org/abs/2501.07930), for strides
    """

    guarantee = "orthogonal with circular padding"

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
        parametrization: str | Config | Parametrization = "cayley",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            1,
            BCOP(parametrization),
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
class BCOPConv2D(ExplicitConv):
    """2D convolution that is orthogonal.

    Projectors `P` on half of the channels define two-tap kernels `[P, I - P]`.
    The layer applies several of them, one after the other, along both axes of
    the image, and then an orthogonal matrix that mixes the channels (block
    convolution orthogonal parameterization, BCOP). With strides, the matrix
    acts on non-overlapping windows of size `strides`. The layer composes all
    factors into one kernel of `kernel_size`. The projectors act on the larger
    of the numbers of input and output channels, which gives more degrees of
    freedom.

    With circular padding, all singular values of the convolution are one, for
    every stride and dilation. It preserves the norm of its inputs if `filters`
    is at least `channels * prod(strides)`, and the norm of gradients if
    `filters` is at most that. With zero or valid padding it is 1-Lipschitz
    (l2), not orthogonal.

    Args:
        filters: Positive integer. Number of output channels.
        kernel_size: Positive integer, or a pair: height and width of the
            window. At least `strides`.
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
        kernel_initializer: Initializer of the free matrices. Defaults to
            `"orthogonal"`.
        bias_initializer: Initializer of the bias. Defaults to `"zeros"`.
        kernel_regularizer: Regularizer of the free matrices. Defaults to
            `None`.
        bias_regularizer: Regularizer of the bias. Defaults to `None`.
        padding_mode: `"circular"` or `"zeros"`. Values of the padding with
            `"same"`: pixels of the opposite side of the image, or zeros.
            Defaults to `"circular"`.
        parametrization: Name, config or instance of an orthogonal
            `keras_lip.parametrizations.Parametrization`, for the matrix and the
            bases of the projectors. Defaults to `"cayley"`. `"cayley"`,
            `"exponential"` and `"qr"` are orthogonal for all weights. With
            `"bjorck"` and `"cholesky"` the free matrices must have full rank.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        ValueError: If an argument is out of range, the parametrization is
            unknown or not orthogonal, the activation has no known bound, the
            window is smaller than the strides, or strides do not divide the
            sides of an image with circular padding.

    Input shape:
        `(batch_size, height, width, channels)`, or with `"channels_first"`
        `(batch_size, channels, height, width)`.

    Output shape:
        `(batch_size, new_height, new_width, filters)`, or with
        `"channels_first"` `(batch_size, filters, new_height, new_width)`.
        With `"same"`, a side is `ceil(side / stride)`.

    Example:

    >>> layer = keras_lip.layers.BCOPConv2D(16, 3, strides=2)
    >>> tuple(layer(np.ones((2, 6, 6, 4))).shape)
    (2, 3, 3, 16)

    Reference:

    - [Li et al., 2019](https://arxiv.org/abs/1911.00937), equation 5 and
      Algorithm 1
    - [Boissin et al., 2025](https://arxiv.org/abs/2501.07930), for strides
    """

    guarantee = "orthogonal with circular padding"

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
        parametrization: str | Config | Parametrization = "cayley",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            2,
            BCOP(parametrization),
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
class BCOPConv2DTranspose(ExplicitConv):
    """Adjoint of an orthogonal 2D convolution.

    The layer relates to `BCOPConv2D` as `keras.layers.Conv2DTranspose` to
    `Conv2D`: with the same kernel, it maps images of the outputs back to images
    of the inputs. An operator and its adjoint have the same singular values.

    With circular padding, all singular values of the layer are one, for every
    stride and dilation. It preserves the norm of inputs with at most `filters *
    prod(strides)` channels, and the norm of gradients if there are at least
    that many channels. With `"valid"` it also preserves the norm of such
    inputs, but not the norm of gradients, because there are more outputs. With
    zero padding it is 1-Lipschitz (l2), not orthogonal.

    Args:
        filters: Positive integer. Number of output channels.
        kernel_size: Positive integer, or a pair: height and width of the
            window. At least `strides`.
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
        kernel_initializer: Initializer of the free matrices. Defaults to
            `"orthogonal"`.
        bias_initializer: Initializer of the bias. Defaults to `"zeros"`.
        kernel_regularizer: Regularizer of the free matrices. Defaults to
            `None`.
        bias_regularizer: Regularizer of the bias. Defaults to `None`.
        padding_mode: `"circular"` or `"zeros"`. With `"same"`, pixels outside
            the image are added at the opposite side, or dropped. Defaults to
            `"circular"`.
        parametrization: Name, config or instance of an orthogonal
            `keras_lip.parametrizations.Parametrization`, for the matrix and the
            bases of the projectors. Defaults to `"cayley"`. `"cayley"`,
            `"exponential"` and `"qr"` are orthogonal for all weights. With
            `"bjorck"` and `"cholesky"` the free matrices must have full rank.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        ValueError: If an argument is out of range, the parametrization is
            unknown or not orthogonal, the activation has no known bound, or the
            window is smaller than the strides.

    Input shape:
        `(batch_size, height, width, channels)`, or with `"channels_first"`
        `(batch_size, channels, height, width)`.

    Output shape:
        `(batch_size, new_height, new_width, filters)`, or with
        `"channels_first"` `(batch_size, filters, new_height, new_width)`.
        With `"same"`, a side is the side of the inputs times the stride.

    Example:

    >>> layer = keras_lip.layers.BCOPConv2DTranspose(4, 2, strides=2)
    >>> tuple(layer(np.ones((2, 3, 3, 16))).shape)
    (2, 6, 6, 4)

    Reference:

    - [Li et al., 2019](https://arxiv.org/abs/1911.00937), equation 5 and
      Algorithm 1
    - [Boissin et al., 2025](https://arxiv.org/abs/2501.07930), for strides
    """

    guarantee = "orthogonal with circular padding"

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
        parametrization: str | Config | Parametrization = "cayley",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            2,
            BCOP(parametrization),
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
