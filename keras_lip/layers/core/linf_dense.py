"""Densely-connected layer that is non-expansive in the l-infinity norm."""

from typing import Any

import keras
from keras import ops

from keras_lip.layers.constrained_kernel import shrink_kernel
from keras_lip.layers.core.base_dense import BaseDense
from keras_lip.linalg import project_l1
from keras_lip.proofs.matrix_norms import row_sum_bound
from keras_lip.read_weight import read_kernel
from keras_lip.types import Tensor


@keras.saving.register_keras_serializable(package="keras_lip")
class LinfDense(BaseDense):
    """Densely-connected layer of l-infinity operator norm at most one.

    The layer computes `activation(dot(inputs, kernel) + bias)`. The weights of
    each unit are projected onto the unit ball of the l1 norm. Without
    activation, no output changes by more than the largest change of an input:
    the layer is 1-Lipschitz in the l-infinity norm by construction, up to
    rounding, which `lipschitz_bound` includes.

    The guarantee holds in no other norm. Combine the layer with layers that
    have a bound in l-infinity (`GroupSort`, `MaxMin`, `FullSort`,
    `AbsoluteValue`, pooling), not with orthogonal layers: a model without a
    common norm raises an error. Such models are certified in l-infinity, with
    the radius `margin / (2 L)`, or `margin / (L_trunk |w_i - w_j|_1)` if the
    last layer is a `LinfDense`.

    Args:
        units: Positive integer. Dimension of the output.
        activation: Activation function. Its Lipschitz constant must be known
            and multiplies the layer's bound. Defaults to `None`.
        use_bias: Boolean. Whether the layer adds a bias. Defaults to `True`.
        kernel_initializer: Initializer of the free kernel. Defaults to
            `"orthogonal"`.
        bias_initializer: Initializer of the bias. Defaults to `"zeros"`.
        kernel_regularizer: Regularizer of the free kernel. Defaults to `None`.
        bias_regularizer: Regularizer of the bias. Defaults to `None`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        ValueError: If `units` is not a positive integer, or if the activation
            has no known bound.

    Input shape:
        `(batch_size, ..., input_dim)`.

    Output shape:
        `(batch_size, ..., units)`.

    Example:

    >>> layer = keras_lip.layers.LinfDense(4)
    >>> tuple(layer(np.ones((2, 3))).shape)
    (2, 4)

    Reference:

    - [Anil et al., 2019](https://arxiv.org/abs/1811.05381), section 4.2
    """

    norms = ("linf",)
    guarantee = "rows of l1 norm at most one"

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            units,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            **kwargs,
        )

    @property
    def kernel(self) -> Tensor:
        return project_l1(ops.convert_to_tensor(self.free_kernel))

    def _train_multiply(self, inputs: Tensor) -> Tensor:
        return ops.matmul(inputs, ops.cast(self.kernel, inputs.dtype))

    def _proven_kernel(self) -> Tensor:
        kernel = self.kernel
        return shrink_kernel(kernel, row_sum_bound(read_kernel(self, kernel)))
