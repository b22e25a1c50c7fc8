"""Densely-connected layer with unit norm units, for the last layer."""

from typing import Any

import keras
from keras import ops

from keras_lip.layers.core.base_dense import BaseDense
from keras_lip.linalg import power_iteration
from keras_lip.linalg import scale_to_one
from keras_lip.linalg import start_vector
from keras_lip.operators import DenseOperator
from keras_lip.types import Tensor

# Starts from the same vector every time: this layer is usually the last one.
_NUM_ITERATIONS = 30


@keras.saving.register_keras_serializable(package="keras_lip")
class UnitNormDense(BaseDense):
    """Densely-connected layer in which the weights of each unit have norm one.

    Each output is a 1-Lipschitz function of the input, but the vector of
    outputs is not: the layer's bound is the spectral norm of its kernel,
    between one and `sqrt(units)`. Use it as the last layer of a classifier.
    Certificates compare classes `i` and `j` with the exact distance `|w_i -
    w_j|` of their weights, so nothing is lost (last-layer normalization, LLN).
    A free weight of zero stays zero, and the output of its unit is the bias.

    Args:
        units: Positive integer. Dimension of the output.
        activation: Activation function. Its Lipschitz constant must be known
            and multiplies the layer's bound. Defaults to `None`.
        use_bias: Boolean. Whether the layer adds a bias. Defaults to
            `True`.
        kernel_initializer: Initializer of the free kernel. Defaults to
            `"orthogonal"`.
        bias_initializer: Initializer of the bias. Defaults to `"zeros"`.
        kernel_regularizer: Regularizer of the free kernel. Defaults to `None`.
        bias_regularizer: Regularizer of the bias. Defaults to `None`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        ValueError: If `units` is not a positive integer or the activation has
            no known bound.

    Input shape:
        `(batch_size, ..., input_dim)`.

    Output shape:
        `(batch_size, ..., units)`.

    Example:

    >>> layer = keras_lip.layers.UnitNormDense(10)
    >>> tuple(layer(np.ones((2, 3))).shape)
    (2, 10)

    Reference:

    - [Singla et al., 2022](https://arxiv.org/abs/2108.04062), section 5
    """

    guarantee = "each output non-expansive"

    @property
    def kernel(self) -> Tensor:
        kernel = scale_to_one(ops.convert_to_tensor(self.free_kernel), axis=0)
        squares = ops.sum(ops.square(kernel), axis=0, keepdims=True)
        return kernel * ops.rsqrt(squares + 1e-12)

    def _estimate_norm(self, training: bool) -> Any:
        kernel = self.kernel
        vector = ops.convert_to_tensor(start_vector((1, kernel.shape[0])))
        norm, _ = power_iteration(
            DenseOperator(), kernel, vector, _NUM_ITERATIONS
        )
        return norm

    def _train_multiply(self, inputs: Tensor) -> Tensor:
        return ops.matmul(inputs, ops.cast(self.kernel, inputs.dtype))

    def _proven_kernel(self) -> Tensor:
        return self.kernel
