"""Linear residual dense layer whose norm is measured."""

from typing import Any

import keras
from keras import ops

from keras_lip.layers.constrained_kernel import can_move_state
from keras_lip.layers.convolutional.kernel_maps.free import NUM_ITERATIONS
from keras_lip.layers.core.base_dense import BaseDense
from keras_lip.layers.residual.residual_scale import check_scale
from keras_lip.layers.residual.residual_scale import small_initializer
from keras_lip.linalg import power_iteration
from keras_lip.linalg import start_vector
from keras_lip.operators import DenseOperator
from keras_lip.types import Config
from keras_lip.types import Shape
from keras_lip.types import Tensor


@keras.saving.register_keras_serializable(package="keras_lip")
class LipschitzResidualDense(BaseDense):
    """Dense layer plus its input, whose norm is measured, not constrained.

    The layer computes `activation(x + scale * gamma * dot(x, W) + bias)`, where
    `gamma` is a trained factor for each unit and `scale` is a fixed number. It
    is computed as one product, with the kernel `identity + scale * gamma * W`.
    If `units` differs from the size of the input, zeros are appended to `x`, or
    its last entries are dropped.

    **The layer is not 1-Lipschitz.** Its norm is not constrained to one.
    `lipschitz_bound` proves a bound on the spectral norm of the kernel in use.
    A loss such as `keras_lip.losses.EMMA` trains with an estimate of the norm:
    10 iterations of the power method in each training step. They start from the
    final vector of the previous step, which is stored as a non-trainable
    weight. Without such a loss, the norm is not controlled. For a layer of norm
    one near the identity, use `OrthogonalDense` with a `residual_scale`.

    Args:
        units: Positive integer. Dimension of the output, usually equal to the
            dimension of the input.
        activation: Activation function. Its Lipschitz constant must be known
            and multiplies the layer's bound. Defaults to `None`.
        use_bias: Boolean. Whether the layer adds a bias. Defaults to `True`.
        kernel_initializer: Initializer of the kernel `W`. Defaults to `None`,
            for a truncated normal distribution with standard deviation `0.1 /
            sqrt(input_dim)`, so that the layer starts near the identity.
        bias_initializer: Initializer of the bias. Defaults to `"zeros"`.
        kernel_regularizer: Regularizer of the kernel `W`. Defaults to `None`.
        bias_regularizer: Regularizer of the bias. Defaults to `None`.
        scale: Float. Factor of the product. One over the square root of the
            number of such layers keeps a deep network near the identity.
            Defaults to `1.0`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        ValueError: If an argument is out of range, or the activation has no
            known bound.

    Input shape:
        `(batch_size, ..., input_dim)`.

    Output shape:
        `(batch_size, ..., units)`.

    Example:

    >>> layer = keras_lip.layers.LipschitzResidualDense(3, scale=0.5)
    >>> tuple(layer(np.ones((2, 3))).shape)
    (2, 3)

    Reference:

    - [Hu et al., 2023](https://arxiv.org/abs/2301.12549), section 4
    - [Leino et al., 2021](https://arxiv.org/abs/2102.08452), for losses that
      use the measured constant
    """

    guarantee = "norm measured, not held"

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = None,
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        *,
        scale: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            units,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=small_initializer(kernel_initializer),
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            **kwargs,
        )
        self.scale = check_scale(scale)

    def build(self, input_shape: Shape) -> None:
        super().build(input_shape)
        self.gamma = self.add_weight(
            name="gamma",
            shape=(self.units,),
            initializer="ones",
            autocast=False,
        )
        self.power_iteration_vector = self.add_weight(
            name="power_iteration_vector",
            shape=(1, self.free_kernel.shape[0]),
            initializer=start_vector,
            trainable=False,
            autocast=False,
            # It depends only on weights, so it is the same on every replica.
            aggregation="only_first_replica",
        )

    @property
    def kernel(self) -> Tensor:
        kernel = ops.convert_to_tensor(self.free_kernel)
        gamma = ops.convert_to_tensor(self.gamma)
        identity = ops.eye(*kernel.shape, dtype=kernel.dtype)
        return identity + kernel * (gamma * self.scale)

    def _train_multiply(self, inputs: Tensor) -> Tensor:
        return ops.matmul(inputs, ops.cast(self.kernel, inputs.dtype))

    def _proven_kernel(self) -> Tensor:
        return self.kernel

    def _estimate_norm(self, training: bool) -> Any:
        vector = self.power_iteration_vector
        training = training and can_move_state({"vector": vector})
        norm, moved = power_iteration(
            DenseOperator(),
            self.kernel,
            ops.convert_to_tensor(vector),
            NUM_ITERATIONS,
        )
        if training:
            vector.assign(moved)
        return norm

    def get_config(self) -> Config:
        return {**super().get_config(), "scale": self.scale}
