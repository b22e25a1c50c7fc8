"""Densely-connected layer with a kernel of spectral norm at most one."""

from typing import Any

import keras

from keras_lip.layers.core.parametrized_dense import ParametrizedDense
from keras_lip.parametrizations import Parametrization
from keras_lip.types import Config


@keras.saving.register_keras_serializable(package="keras_lip")
class LipschitzDense(ParametrizedDense):
    """Densely-connected layer whose kernel has a spectral norm of at most one.

    The layer computes `activation(dot(inputs, kernel) + bias)`, and without
    activation it is 1-Lipschitz in the l2 norm. Its kernel need not be
    orthogonal, so it may shrink some directions and the gradient. Use
    `OrthogonalDense` to preserve the norm of the gradient.

    With `"aol"` and `"frobenius"` the norm is at most one by construction. With
    `"spectral"` the kernel is divided by an estimate of its norm. The estimate
    is at most the norm, so the norm of the result may exceed one by the error
    of the estimate. `lipschitz_bound` is computed from the kernel used at
    inference. `keras_lip.models.materialize` with `proven=True` gives a kernel
    whose norm is proven to be at most one.

    Args:
        units: Positive integer. Dimension of the output.
        activation: Activation function. Its Lipschitz constant must be known
            and multiplies the layer's bound. Defaults to `None`.
        use_bias: Boolean. Whether the layer adds a bias. Defaults to `True`.
        kernel_initializer: Initializer of the free kernel, or an array.
            `parametrization.from_matrix(kernel)` starts the layer with a given
            kernel. Defaults to `"orthogonal"`.
        bias_initializer: Initializer of the bias. Defaults to `"zeros"`.
        kernel_regularizer: Regularizer of the free kernel. Defaults to `None`.
        bias_regularizer: Regularizer of the bias. Defaults to `None`.
        parametrization: Name, config or instance of a
            `keras_lip.parametrizations.Parametrization`. Defaults to
            `"spectral"`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        ValueError: If `units` is not a positive integer, if the parametrization
            is unknown, or if the activation has no known bound.

    Input shape:
        `(batch_size, ..., input_dim)`.

    Output shape:
        `(batch_size, ..., units)`.

    Example:

    >>> layer = keras_lip.layers.LipschitzDense(4, parametrization="aol")
    >>> tuple(layer(np.ones((2, 3))).shape)
    (2, 4)

    Reference:

    - [Miyato et al., 2018](https://arxiv.org/abs/1802.05957), section 2.1
    """

    guarantee = 'norm at most one, estimated for "spectral"'

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        *,
        parametrization: str | Config | Parametrization = "spectral",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            units,
            parametrization,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            **kwargs,
        )
