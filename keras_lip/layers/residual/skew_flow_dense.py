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

    The flow of `F(x) = -grad f(x) + A x` brings no two points further apart if
    `f` is convex and `A` skew-symmetric. The layer discretizes it by half
    steps: `y = x - h * s(x W + b) W^T`, which is that of
    `ConvexPotentialDense`, and then the flow of `A`, which is orthogonal:

    - `"midpoint"`: `(I - A / 2)^{-1} (I + A / 2) y`, the midpoint rule;
    - `"exponential"`: `exp(A / 2) y`, the exact flow for half a unit of time.

    `A / 2` is the skew part `G - G^T`, up to the sign, of a trained matrix `G`,
    the free kernel of an `OrthogonalDense`. Either step is 1-Lipschitz in the
    l2 norm, the first by an estimate of `|W|`: `lipschitz_bound` is the product
    of the bounds of both as they run at inference. `keras_lip.models.fix_steps`
    returns a model of steps that are proven short enough.

    Args:
        hidden_units: Positive integer. Number of columns of `W`.
        flow: `"midpoint"` or `"exponential"`.
        generator_initializer: Initializer of `G`. With `"zeros"` the block
            starts as its convex half.
        generator_regularizer: Regularizer of `G`.
        name: String. Name of the layer.
        dtype: Dtype or policy of the layer.
        trainable: Boolean. Whether the weights are trained.
        **kwargs: Passed to `ConvexPotentialDense`: `activation`, `step`,
            `kernel_initializer`, `bias_initializer`, `kernel_regularizer` and
            `bias_regularizer`.

    Raises:
        ValueError: If the flow is unknown, or an argument is not one that
            `ConvexPotentialDense` takes.

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
        self.potential = ConvexPotentialDense(
            hidden_units,
            dtype=self.dtype_policy,
            trainable=trainable,
            **kwargs,
        )
        self.input_spec = self.potential.input_spec

    def make_rotation(self) -> OrthogonalDense:
        return OrthogonalDense(
            self.potential.kernel.shape[0],
            parametrization=_PARAMETRIZATIONS[self.flow],
            use_bias=False,
            kernel_initializer=self.generator_initializer,
            kernel_regularizer=self.generator_regularizer,
            dtype=self.dtype_policy,
            trainable=self.trainable,
        )
