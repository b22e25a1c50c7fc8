"""The base class of densely-connected layers with a parametrization."""

import warnings
from typing import Any

from keras import ops

from keras_lip import parametrizations
from keras_lip.layers.constrained_kernel import add_state
from keras_lip.layers.constrained_kernel import assign_state
from keras_lip.layers.constrained_kernel import can_move_state
from keras_lip.layers.constrained_kernel import shrink_kernel
from keras_lip.layers.core.base_dense import BaseDense
from keras_lip.parametrizations import Parametrization
from keras_lip.parametrizations.registry import BY_NAME
from keras_lip.proofs.matrix_norms import spectral_norm_bound
from keras_lip.read_weight import read_kernel
from keras_lip.types import Config
from keras_lip.types import Shape
from keras_lip.types import Tensor

# Names of parametrizations, except the one that is also a Keras activation.
_NAMES = frozenset(BY_NAME) - {"exponential"}


class ParametrizedDense(BaseDense):
    """Computes `activation(dot(inputs, kernel) + bias)` with a bounded kernel.

    Args:
        units: Positive integer. Dimension of the output.
        parametrization: Name, config or instance of a
            `keras_lip.parametrizations.Parametrization`, which computes the
            kernel from the weight `free_kernel`.
        activation: As in `BaseDense`.
        **kwargs: As in `BaseDense`.
    """

    def __init__(
        self,
        units: int,
        parametrization: str | Config | Parametrization,
        activation: Any = None,
        **kwargs: Any,
    ) -> None:
        if isinstance(activation, Parametrization) or (
            isinstance(activation, str) and activation in _NAMES
        ):
            # Earlier releases had `parametrization` in this position.
            warnings.warn(
                "Pass `parametrization` as a keyword argument, such as "
                f"`{type(self).__name__}({units}, parametrization=...)`. The "
                "positional argument will be removed in the next release.",
                DeprecationWarning,
                stacklevel=3,
            )
            activation, parametrization = None, activation
        super().__init__(units, activation=activation, **kwargs)
        self.parametrization = parametrizations.get(parametrization)

    def build(self, input_shape: Shape) -> None:
        super().build(input_shape)
        tall = tuple(sorted(self.free_kernel.shape, reverse=True))
        self.state = add_state(self, self.parametrization.initial_state(tall))

    @property
    def kernel(self) -> Tensor:
        kernel, _ = self.parametrization(self.free_kernel, self.state)
        return kernel

    def _train_multiply(self, inputs: Tensor) -> Tensor:
        if not can_move_state(self.state):
            return ops.matmul(inputs, ops.cast(self.kernel, inputs.dtype))
        outputs, state = self.parametrization.multiply(
            inputs, self.free_kernel, self.state
        )
        assign_state(self.state, state)
        return outputs

    def _proven_kernel(self) -> Tensor:
        kernel = self.kernel
        norm = spectral_norm_bound(read_kernel(self, kernel))
        return shrink_kernel(kernel, norm)

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "parametrization": parametrizations.serialize(self.parametrization),
        }
