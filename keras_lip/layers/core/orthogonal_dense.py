"""Densely-connected layer with an orthogonal kernel."""

from typing import Any

import keras

from keras_lip import parametrizations
from keras_lip.layers.core.parametrized_dense import ParametrizedDense
from keras_lip.layers.residual.residual_scale import check_scale
from keras_lip.parametrizations import Parametrization
from keras_lip.types import Config


@keras.saving.register_keras_serializable(package="keras_lip")
class OrthogonalDense(ParametrizedDense):
    """Densely-connected layer whose kernel is orthogonal.

    The layer computes `activation(dot(inputs, kernel) + bias)`, where every
    singular value of `kernel` is one. Without activation it is 1-Lipschitz in
    the l2 norm. It preserves the norm of the gradient if `units` is at most the
    input dimension.

    With a `residual_scale`, the parametrization is applied to the matrix
    `identity + residual_scale * gamma * W`, with the trained matrix `W` and a
    trained factor `gamma` for each unit. So a deep network of such layers
    starts near the identity, as a residual network does, and stays orthogonal.

    With `"block_reflector"` and as many units as inputs, the free kernel has
    only a fraction of the columns, and the kernel is symmetric.

    With `"cayley"`, `"exponential"` and `"qr"` the kernel is orthogonal for
    every free kernel. With `"bjorck"` and `"cholesky"` the free kernel must
    have full rank, because singular values of zero stay zero. With
    `"block_reflector"` it must have full rank because tiny singular values may
    create others. Without full rank the layer is still 1-Lipschitz.

    Args:
        units: Positive integer. Dimension of the output.
        activation: Activation function. Its Lipschitz constant must be known
            and multiplies the layer's bound. Defaults to `None`.
        use_bias: Boolean. Whether the layer adds a bias. Defaults to `True`.
        kernel_initializer: Initializer of the free kernel, or an array.
            `parametrization.from_matrix(kernel)` starts the layer with a given
            orthogonal kernel. Defaults to `"orthogonal"`.
        bias_initializer: Initializer of the bias. Defaults to `"zeros"`.
        kernel_regularizer: Regularizer of the free kernel. Defaults to `None`.
        bias_regularizer: Regularizer of the bias. Defaults to `None`.
        parametrization: Name, config or instance of an orthogonal
            `keras_lip.parametrizations.Parametrization`. Defaults to
            `"cayley"`.
        residual_scale: Float or `None`. Factor of the free kernel `W` when it
            is added to the identity. The paper uses one over the square root of
            the number of layers. Defaults to `None`: the free kernel is used
            directly.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        ValueError: If `units` is not a positive integer, if `residual_scale` is
            not a number, if the parametrization is unknown or not orthogonal,
            or if the activation has no known bound.

    Input shape:
        `(batch_size, ..., input_dim)`.

    Output shape:
        `(batch_size, ..., units)`.

    Example:

    >>> layer = keras_lip.layers.OrthogonalDense(4, parametrization="cayley")
    >>> tuple(layer(np.ones((2, 3))).shape)
    (2, 4)

    Reference:

    - [Anil et al., 2019](https://arxiv.org/abs/1811.05381), section 4.2
    - [Hu et al., 2024](https://arxiv.org/abs/2310.02513), for the residual
      parametrization, with `"cholesky"`
    """

    guarantee = "orthogonal"

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
        parametrization: str | Config | Parametrization = "cayley",
        residual_scale: float | None = None,
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
            residual_scale=(
                None
                if residual_scale is None
                else check_scale(residual_scale, "residual_scale")
            ),
            **kwargs,
        )
        parametrizations.get_orthogonal(
            self.parametrization, owner=type(self).__name__
        )

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "residual_scale": self.residual_scale,
        }
