"""The base classes of maps from free weights to kernels of convolutions."""

import abc
from typing import Any
from typing import NamedTuple

from keras_lip import parametrizations
from keras_lip.operators import ConvolutionOperator
from keras_lip.parametrizations import Parametrization
from keras_lip.types import Config
from keras_lip.types import State
from keras_lip.types import Tensor


class KernelGeometry(NamedTuple):
    """The convolution that a kernel is used for.

    Attributes:
        shape: Tuple. Shape of the kernel: window, input channels of a group,
            output channels.
        strides: Tuple of integers, one for each image axis.
        groups: Integer. Number of groups of channels.
        operator: The `ConvolutionOperator` that applies the kernel.
        image: Tuple. Channels-last shape of the smallest image that gives the
            output size that the layer was built for.
    """

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    groups: int
    operator: ConvolutionOperator
    image: tuple[int, ...]

    @property
    def rank(self) -> int:
        """Number of axes of an image."""
        return len(self.strides)


class KernelMap(abc.ABC):
    """Constrains free weights to a kernel whose convolution is 1-Lipschitz.

    A kernel map is a strategy, like a `Parametrization` of matrices. It
    contains only hyperparameters. The layer owns the weights and states.

    Attributes:
        is_estimate: Boolean. Whether the kernel is divided by an estimate of
            its norm, which may be too small, so that the resulting norm may
            exceed one.
        may_skip_pixels: Boolean. Whether windows may be smaller than strides.
    """

    is_estimate = False
    may_skip_pixels = True

    def weight_shapes(
        self, geometry: KernelGeometry
    ) -> dict[str, tuple[int, ...]]:
        """Returns the shapes of the trainable weights, by name."""
        return {"free_kernel": geometry.shape}

    def initializers(self) -> dict[str, Any]:
        """Returns the initializers of weights that do not use the layer's.

        These weights have no regularizer either.
        """
        return {}

    def initial_state(self, geometry: KernelGeometry) -> State:
        """Returns the initial arrays of the state, by name."""
        return {}

    def estimate_norm(
        self,
        geometry: KernelGeometry,
        kernel: Tensor,
        state: dict[str, Any],
        training: bool,
    ) -> tuple[Any, State]:
        """Estimates the norm of the convolution with a kernel, for a loss.

        Args:
            geometry: What the kernel is for.
            kernel: What `constrain` returned.
            state: Variables of the `initial_state`.
            training: Boolean. Whether this is a training step.

        Returns:
            Tuple of the norm and the next state. The norm is one, if the map
            guarantees it, or a scalar tensor that is differentiable with
            respect to the kernel.
        """
        return 1.0, {}

    @abc.abstractmethod
    def constrain(
        self,
        geometry: KernelGeometry,
        weights: dict[str, Tensor],
        state: dict[str, Any],
        training: bool,
    ) -> tuple[Tensor, State]:
        """Computes the kernel.

        Args:
            geometry: The `KernelGeometry`.
            weights: Tensors with the names and shapes of `weight_shapes`.
            state: Variables with the names of `initial_state`.
            training: Boolean. Whether to update the state.

        Returns:
            The kernel, and the next state.
        """

    def get_config(self) -> Config:
        """Returns the arguments that the map adds to its layer's config."""
        return {}


class ParametrizedKernelMap(KernelMap):
    """A kernel map that uses orthogonal matrices.

    Args:
        parametrization: Name, config or instance of an orthogonal
            `Parametrization`.

    Raises:
        ValueError: If the parametrization is unknown or not orthogonal.
    """

    def __init__(self, parametrization: str | Config | Parametrization) -> None:
        self.parametrization = parametrizations.get_orthogonal(
            parametrization, owner=type(self).__name__
        )

    def matrix_state(self, shape: tuple[int, ...]) -> State:
        """Returns the initial state for matrices of a shape."""
        *batch, rows, columns = shape
        tall = (*batch, max(rows, columns), min(rows, columns))
        return self.parametrization.initial_state(tall)

    def get_config(self) -> Config:
        return {
            "parametrization": parametrizations.serialize(self.parametrization)
        }
