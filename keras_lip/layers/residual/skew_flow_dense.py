"""A residual flow with a convex and a skew-symmetric part."""

from typing import Any

import keras

from keras_lip.layers.core.orthogonal_dense import OrthogonalDense
from keras_lip.layers.residual.base_skew_flow import BaseSkewFlow
from keras_lip.layers.residual.convex_potential_dense import (
    ConvexPotentialDense,
)

_PARAMETRIZATIONS = {"midpoint": "cayley", "exponential": "exponential"}


@keras.saving.register_keras_serializable(package="keras_lip")
class SkewFlowDense(BaseSkewFlow):
    """Residual dense block with a convex potential and a rotation.

    The flow of `F(x) = -grad f(x) + A x` never increases the distance of two
    points if `f` is convex and `A` is skew-symmetric. The layer discretizes it
    with two half steps: first the step `y = x - h * s(x W + b) W^T` of
    `ConvexPotentialDense`, then the flow of `A`, which is orthogonal:

    - `"midpoint"`: `(I - A / 2)^{-1} (I + A / 2) y`, the midpoint rule;
    - `"exponential"`: `exp(A / 2) y`, the exact flow for half a unit of time.

    Up to the sign, `A / 2` is the skew part `G - G^T` of a trainable matrix
    `G`, the free kernel of an `OrthogonalDense`. Both steps are 1-Lipschitz in
    the l2 norm, the first one up to the error of an estimate of `|W|`.
    `lipschitz_bound` is the product of their bounds at inference.
    `keras_lip.models.fix_steps` returns a model whose steps are proven to be
    short enough.

    Args:
        hidden_units: Positive integer. Number of hidden units.
        activation: Name or function of a non-decreasing 1-Lipschitz activation
            of `keras.activations`. Defaults to `"relu"`.
        kernel_initializer: Initializer of the kernel. Defaults to
            `"glorot_uniform"`.
        bias_initializer: Initializer of the hidden bias. Defaults to `"zeros"`.
        kernel_regularizer: Regularizer of the kernel. Defaults to `None`.
        bias_regularizer: Regularizer of the hidden bias. Defaults to `None`.
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
            `ConvexPotentialDense`.

    Input shape:
        `(batch_size, ..., input_dim)`.

    Output shape:
        Same as the input.

    Example:

    >>> layer = keras_lip.layers.SkewFlowDense(8)
    >>> tuple(layer(np.ones((2, 3))).shape)
    (2, 3)

    Reference:

    - [Meunier et al., 2022](https://arxiv.org/abs/2110.12690), the hybrid
      discretization of flows
    """

    def __init__(
        self,
        hidden_units: int,
        activation: Any = "relu",
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        *,
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
        self.potential = ConvexPotentialDense(
            hidden_units,
            activation=activation,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            step=step,
            step_fraction=step_fraction,
            dtype=self.dtype_policy,
            trainable=self.trainable,
        )
        self.input_spec = self.potential.input_spec

    def _make_rotation(self) -> OrthogonalDense:
        return OrthogonalDense(
            self.potential.kernel.shape[0],
            parametrization=_PARAMETRIZATIONS[self.flow],
            use_bias=False,
            kernel_initializer=self.generator_initializer,
            kernel_regularizer=self.generator_regularizer,
            dtype=self.dtype_policy,
            trainable=self.trainable,
        )
