"""The 2D convolution divided by its estimated operator norm."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_lip.layers.convolutional.explicit_conv import ExplicitConv
from keras_lip.layers.convolutional.kernel_maps import UnitNorm


@keras.saving.register_keras_serializable(package="keras_lip")
class OSSNConv2D(ExplicitConv):
    """2D convolution divided by an estimate of its operator norm.

    The power method runs on the convolution itself, with its strides and
    padding, instead of the reshaped kernel (one-sided spectral normalization,
    OSSN). Each training step runs `training_iterations` iterations and stores
    the resulting image in a non-trainable weight; inference runs 100 iterations
    from that image. If weights are loaded for another image size, the power
    method restarts. The estimate is at most the norm, so the norm of the layer
    may exceed one by its error. `lipschitz_bound` is computed from the kernel
    used at inference, for images of any size. `keras_lip.models.materialize`
    with `proven=True` gives a kernel whose norm is proven to be at most one.

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
        training_iterations: Positive integer. Number of iterations of the power
            method in a training step. Li et al. make 10. Defaults to `1`, which
            is our choice.
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

    >>> layer = keras_lip.layers.OSSNConv2D(8, 3)
    >>> tuple(layer(np.ones((2, 6, 6, 4))).shape)
    (2, 6, 6, 8)

    Reference:

    - [Gouk et al., 2021](https://arxiv.org/abs/1804.04368), section 4
    - [Li et al., 2019](https://arxiv.org/abs/1911.00937), sections 4.1 and
      5.2.2, who make 10 iterations in a training step
    """

    guarantee = "norm one by an estimate"

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
        training_iterations: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            2,
            UnitNorm(training_iterations),
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
            **kwargs,
        )
