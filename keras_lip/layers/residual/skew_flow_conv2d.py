"""A residual flow of images, with a convex and a skew-symmetric part."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_lip.layers.convolutional.base_conv import BaseConv
from keras_lip.layers.convolutional.cayley_conv2d import CayleyConv2D
from keras_lip.layers.convolutional.soc_conv2d import SOCConv2D
from keras_lip.layers.residual.base_skew_flow import BaseSkewFlow
from keras_lip.layers.residual.convex_potential_conv2d import (
    ConvexPotentialConv2D,
)

_ROTATIONS = {"midpoint": CayleyConv2D, "exponential": SOCConv2D}


@keras.saving.register_keras_serializable(package="keras_lip")
class SkewFlowConv2D(BaseSkewFlow):
    """Residual convolutional block with a convex potential and a rotation.

    The flow of `F(x) = -grad f(x) + A x` never increases the distance of two
    points if `f` is convex and `A` is skew-symmetric. The layer discretizes it
    with two half steps: first the step `y = x - h * K^T s(K x + b)` of
    `ConvexPotentialConv2D`, then the flow of a skew-symmetric convolution `A`,
    which is orthogonal:

    - `"midpoint"`: `(I - A / 2)^{-1} (I + A / 2) y`, the midpoint rule,
      computed as in `CayleyConv2D`. The padding must be circular, and the image
      size must be known when the layer is built;
    - `"exponential"`: `exp(A / 2) y`, the exact flow for half a unit of time,
      computed by the polynomial of `SOCConv2D`, which limits the norm of `A`.
      The window must have odd sides.

    Both steps are 1-Lipschitz in the l2 norm, the first one up to the error of
    an estimate of `|K|`. `lipschitz_bound` is the product of their bounds at
    inference. `keras_lip.models.fix_steps` returns a model whose steps are
    proven to be short enough.

    Args:
        hidden_filters: Positive integer. Number of hidden channels.
        kernel_size: Positive integer, or a pair: height and width of the
            window.
        padding: `"same"` or `"valid"`. Padding of the convolution to the hidden
            channels. Defaults to `"same"`.
        data_format: `"channels_last"` or `"channels_first"`. Defaults to
            `None`, for `keras.config.image_data_format()`.
        activation: Name or function of a non-decreasing 1-Lipschitz activation
            of `keras.activations`. Defaults to `"relu"`.
        kernel_initializer: Initializer of the kernel. Defaults to
            `"glorot_uniform"`.
        bias_initializer: Initializer of the hidden bias. Defaults to `"zeros"`.
        kernel_regularizer: Regularizer of the kernel. Defaults to `None`.
        bias_regularizer: Regularizer of the hidden bias. Defaults to `None`.
        padding_mode: `"circular"` or `"zeros"`. Values of the padding with
            `"same"`: pixels of the opposite side of the image, or zeros.
            Defaults to `"circular"`.
        step: Positive float, or `None`. A given `step` stays fixed while the
            kernel changes. Defaults to `None`, for `2 / max(norm, 0.1)^2` with
            the norm of the kernel.
        step_fraction: Float in (0, 1]. Share of the longest step `2 /
            max(norm, 0.1)^2` that the layer takes if `step` is `None`. Defaults
            to `1.0`.
        flow: `"midpoint"` or `"exponential"`. Discretization of the flow of
            `A`. Defaults to `"midpoint"`.
        generator_initializer: Initializer of `G`. With `"zeros"` the block is
            initially its convex half step. Defaults to `"orthogonal"`.
        generator_regularizer: Regularizer of `G`. Defaults to `None`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        ValueError: If the flow is unknown, or an argument is invalid for
            `ConvexPotentialConv2D` or for the layer of the flow.

    Input shape:
        `(batch_size, height, width, channels)`, or with `"channels_first"`
        `(batch_size, channels, height, width)`.

    Output shape:
        Same as the input.

    Example:

    >>> layer = keras_lip.layers.SkewFlowConv2D(8, 3)
    >>> tuple(layer(np.ones((2, 6, 6, 4))).shape)
    (2, 6, 6, 4)

    Reference:

    - [Meunier et al., 2022](https://arxiv.org/abs/2110.12690), the hybrid
      discretization of flows
    """

    def __init__(
        self,
        hidden_filters: int,
        kernel_size: int | Sequence[int],
        padding: str = "same",
        data_format: str | None = None,
        activation: Any = "relu",
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        *,
        padding_mode: str = "circular",
        step: float | None = None,
        step_fraction: float = 1.0,
        flow: str = "midpoint",
        generator_initializer: Any = "orthogonal",
        generator_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            flow,
            generator_initializer,
            generator_regularizer,
            **kwargs,
        )
        self.potential = ConvexPotentialConv2D(
            hidden_filters,
            kernel_size,
            padding=padding,
            data_format=data_format,
            activation=activation,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            padding_mode=padding_mode,
            step=step,
            step_fraction=step_fraction,
            dtype=self.dtype_policy,
            trainable=self.trainable,
        )
        self.input_spec = self.potential.input_spec
        mode = self.potential.padding_mode
        if flow == "midpoint" and mode != "circular":
            raise ValueError(
                "The midpoint rule is solved in the Fourier domain, where "
                "images are periodic. Use `padding_mode='circular'`, or "
                f"`flow='exponential'`. Received: padding_mode={mode!r}"
            )

    def _make_rotation(self) -> BaseConv:
        potential = self.potential
        return _ROTATIONS[self.flow](
            potential.kernel.shape[-2],
            potential.kernel_size,
            padding_mode=potential.padding_mode,
            data_format=potential.data_format,
            use_bias=False,
            kernel_initializer=self.generator_initializer,
            kernel_regularizer=self.generator_regularizer,
            dtype=self.dtype_policy,
            trainable=self.trainable,
        )
