"""The contract of maps from free weights to the kernels of convolutions."""

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
    """What a kernel is for.

    Attributes:
        shape: Tuple, the shape of the kernel: its window, the input channels of
            a group, the output channels.
        strides: Tuple of integers, one for each axis of an image.
        groups: Integer. Number of groups of channels.
        operator: The `ConvolutionOperator` that applies it.
        image: Tuple, the shape of the smallest image with the outputs that the
            layer was built for, channels last.
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

    A strategy, as `Parametrization` is for matrices: it holds hyperparameters
    only. Weights and states are those of the layer.

    Attributes:
        is_estimate: Boolean. Whether the kernel is divided by an estimate of
            its norm from below, so that its norm may exceed one.
        may_skip_pixels: Boolean. Whether windows may be smaller than strides.
    """

    is_estimate = False
    may_skip_pixels = True

    def weight_shapes(
        self, geometry: KernelGeometry
    ) -> dict[str, tuple[int, ...]]:
        """Returns the shapes of the weights that are trained, by name."""
        return {"free_kernel": geometry.shape}

    def initializers(self) -> dict[str, Any]:
        """Returns initializers of weights that do not take their layer's.

        These weights take no regularizer either.
        """
        return {}

    def initial_state(self, geometry: KernelGeometry) -> State:
        """Returns the arrays that a state starts as, by name."""
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
            The norm that is promised, one, or a scalar tensor that is
            differentiable by the kernel; and the next state.
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
            geometry: What the kernel is for.
            weights: Tensors of the `weight_shapes`.
            state: Variables of the `initial_state`.
            training: Boolean. Whether the state moves.

        Returns:
            The kernel, and the next state.
        """

    def get_config(self) -> Config:
        """Returns the arguments that it adds to those of its layer."""
        return {}


class ParametrizedKernelMap(KernelMap):
    """A kernel map that is made of orthogonal matrices.

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
        """Returns the state of matrices of a shape."""
        *batch, rows, columns = shape
        tall = (*batch, max(rows, columns), min(rows, columns))
        return self.parametrization.initial_state(tall)

    def get_config(self) -> Config:
        return {
            "parametrization": parametrizations.serialize(self.parametrization)
        }
