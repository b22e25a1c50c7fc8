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
from keras_lip.operators import pad_zeros
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
        residual_scale: Float or `None`. Factor of the free kernel when it is
            added to the identity.
        **kwargs: As in `BaseDense`.
    """

    def __init__(
        self,
        units: int,
        parametrization: str | Config | Parametrization,
        activation: Any = None,
        *,
        residual_scale: float | None = None,
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
        self.residual_scale = residual_scale

    def build(self, input_shape: Shape) -> None:
        super().build(input_shape)
        sides = int(self.free_kernel.shape[0]), self.units
        tall = tuple(sorted(sides, reverse=True))
        self.state = add_state(self, self.parametrization.initial_state(tall))
        if self.residual_scale is not None:
            self.gamma = self.add_weight(
                name="gamma",
                shape=(self.units,),
                initializer="ones",
                autocast=False,
            )

    def _free_shape(self, input_dim: int) -> tuple[int, ...]:
        return self.parametrization.free_shape((input_dim, self.units))

    def _free_matrix(self) -> Tensor:
        """Returns the matrix to constrain, of the kernel's shape."""
        matrix = ops.convert_to_tensor(self.free_kernel)
        rows, columns = matrix.shape
        missing = self.units - columns
        if self.residual_scale is not None:
            gamma = ops.convert_to_tensor(self.gamma) * self.residual_scale
            # A reflector is symmetric: its rows correspond to the units.
            gamma = gamma[:, None] if missing else gamma
            identity = ops.eye(rows, columns, dtype=matrix.dtype)
            matrix = identity + matrix * gamma
        return pad_zeros(matrix, [(0, 0), (0, missing)]) if missing else matrix

    @property
    def kernel(self) -> Tensor:
        kernel, _ = self.parametrization(self._free_matrix(), self.state)
        return kernel

    def _train_multiply(self, inputs: Tensor) -> Tensor:
        if not can_move_state(self.state):
            return ops.matmul(inputs, ops.cast(self.kernel, inputs.dtype))
        outputs, state = self.parametrization.multiply(
            inputs, self._free_matrix(), self.state
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
