"""A residual flow of images, with a convex and a skew-symmetric part."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_lip.layers.convolutional.base_conv import BaseConv
from keras_lip.layers.convolutional.cayley_conv_2d import CayleyConv2D
from keras_lip.layers.convolutional.soc_conv_2d import SOCConv2D
from keras_lip.layers.residual.base_skew_flow import BaseSkewFlow
from keras_lip.layers.residual.convex_potential_conv_2d import (
    ConvexPotentialConv2D,
)

_ROTATIONS = {"midpoint": CayleyConv2D, "exponential": SOCConv2D}


@keras.saving.register_keras_serializable(package="keras_lip")
class SkewFlowConv2D(BaseSkewFlow):
    """Residual convolutional block with a convex potential and a rotation.

    The flow of `F(x) = -grad f(x) + A x` brings no two points further apart if
    `f` is convex and `A` skew-symmetric. The layer discretizes it by half
    steps: `y = x - h * K^T s(K x + b)`, which is that of
    `ConvexPotentialConv2D`, and then the flow of a skew-symmetric convolution
    `A`, which is orthogonal:

    - `"midpoint"`: `(I - A / 2)^{-1} (I + A / 2) y`, the midpoint rule, which
      is that of `CayleyConv2D`: the padding is circular, and the size of the
      image known when the layer is built;
    - `"exponential"`: `exp(A / 2) y`, the exact flow for half a unit of time,
      by the polynomial of `SOCConv2D`, which holds the norm of `A`. The window
      has odd sides.

    Either step is 1-Lipschitz in the l2 norm, the first by an estimate of
    `|K|`: `lipschitz_bound` is the product of the bounds of both as they run at
    inference. `keras_lip.models.fix_steps` returns a model of steps that are
    proven short enough.

    Args:
        hidden_filters: Positive integer. Number of channels of `K x`.
        kernel_size: Positive integer, or a pair of them: height and width of
            the windows of `K` and of `A`.
        flow: `"midpoint"` or `"exponential"`.
        generator_initializer: Initializer of the convolution of which `A / 2`
            is the skew part. With `"zeros"` the block starts as its convex
            half.
        generator_regularizer: Regularizer of the same.
        name: String. Name of the layer.
        dtype: Dtype or policy of the layer.
        trainable: Boolean. Whether the weights are trained.
        **kwargs: Passed to `ConvexPotentialConv2D`: `step`, `padding`,
            `padding_mode`, `data_format`, `activation`, `kernel_initializer`,
            `bias_initializer`, `kernel_regularizer` and `bias_regularizer`. The
            mode and the format are those of both steps.

    Raises:
        ValueError: If the flow is unknown, an argument is not one that
            `ConvexPotentialConv2D` takes, or the layer of the flow cannot be
            built with it.

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
        flow: str = "midpoint",
        generator_initializer: Any = "orthogonal",
        generator_regularizer: Any = None,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            flow,
            generator_initializer,
            generator_regularizer,
            name=name,
            dtype=dtype,
            trainable=trainable,
        )
        self.potential = ConvexPotentialConv2D(
            hidden_filters,
            kernel_size,
            dtype=self.dtype_policy,
            trainable=trainable,
            **kwargs,
        )
        self.input_spec = self.potential.input_spec
        mode = self.potential.padding_mode
        if flow == "midpoint" and mode != "circular":
            raise ValueError(
                "The midpoint rule is solved in the Fourier domain, where "
                "images continue periodically. Use `padding_mode='circular'`, "
                f"or `flow='exponential'`. Received: padding_mode={mode!r}"
            )

    def make_rotation(self) -> BaseConv:
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
