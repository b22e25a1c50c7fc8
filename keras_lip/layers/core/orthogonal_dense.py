"""Densely-connected layer with an orthogonal kernel."""

from typing import Any

import keras

from keras_lip import parametrizations
from keras_lip.layers.core.base_dense import BaseDense
from keras_lip.parametrizations import Parametrization
from keras_lip.types import Config
from keras_lip.types import Shape
from keras_lip.types import Tensor


@keras.saving.register_keras_serializable(package="keras_lip")
class OrthogonalDense(BaseDense):
    """Densely-connected layer whose kernel is orthogonal.

    The layer computes `activation(dot(inputs, kernel) + bias)`, where every
    singular value of `kernel` is one. Without activation it is 1-Lipschitz in
    the l2 norm, and it preserves the norm of the gradient unless it widens its
    input.

    Args:
        units: Positive integer. Dimension of the output.
        parametrization: Name, config or instance of an orthogonal
            `keras_lip.parametrizations.Parametrization`. Defaults to
            `"bjorck"`.
        activation: Activation function of a known Lipschitz bound, which
            counts in that of the layer. Defaults to none.
        use_bias: Boolean. Whether the layer adds a bias vector.
        kernel_initializer: Initializer of the free kernel.
        bias_initializer: Initializer of the bias.
        kernel_regularizer: Regularizer of the free kernel.
        bias_regularizer: Regularizer of the bias.
        **kwargs: Passed to `keras.layers.Layer`.

    Raises:
        ValueError: If `units` is not a positive integer, if the parametrization
            is unknown or not orthogonal, or if no bound of the activation is
            known.

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
    """

    def __init__(
        self,
        units: int,
        parametrization: str | Config | Parametrization = "bjorck",
        **kwargs: Any,
    ) -> None:
        super().__init__(units, **kwargs)
        self.parametrization = parametrizations.get(parametrization)
        if not self.parametrization.orthogonal:
            raise ValueError(
                "`OrthogonalDense` needs an orthogonal parametrization. "
                f"Received: parametrization={parametrization!r}"
            )

    def build(self, input_shape: Shape) -> None:
        super().build(input_shape)
        tall = tuple(sorted(self.free_kernel.shape, reverse=True))
        self.state = {
            name: self.add_weight(
                name=name,
                shape=value.shape,
                initializer=keras.initializers.Constant(value),
                trainable=False,
                autocast=False,
            )
            for name, value in self.parametrization.initial_state(tall).items()
        }

    def compute_kernel(self, training: bool = False) -> Tensor:
        kernel, state = self.parametrization(self.free_kernel, self.state)
        if training:
            for name, value in state.items():
                self.state[name].assign(value)
        return kernel

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "parametrization": parametrizations.serialize(self.parametrization),
        }
