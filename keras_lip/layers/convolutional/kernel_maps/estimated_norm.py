"""Kernels divided by an estimate of the convolution's norm."""

import abc
from typing import Any

from keras import ops

from keras_lip.layers.convolutional.kernel_maps.kernel_map import KernelGeometry
from keras_lip.layers.convolutional.kernel_maps.kernel_map import KernelMap
from keras_lip.linalg import power_iteration
from keras_lip.linalg import scale_to_one
from keras_lip.linalg import start_vector
from keras_lip.types import Config
from keras_lip.types import State
from keras_lip.types import Tensor
from keras_lip.validation import check_positive_integer

# Iterations of the power method, as in `ConvexPotentialDense`.
_INFERENCE_ITERATIONS = 100


class _EstimatedNorm(KernelMap):
    """Divides the kernel by a norm estimated with the power method.

    The method runs on the convolution itself, with images of the size that the
    layer is built for. The state is its vector, an image.

    Args:
        training_iterations: Positive integer. Number of iterations in a
            training step. Defaults to `1`.

    Raises:
        ValueError: If `training_iterations` is not a positive integer.
    """

    is_estimate = True

    def __init__(self, training_iterations: int = 1) -> None:
        self.training_iterations = check_positive_integer(
            "training_iterations", training_iterations
        )

    def initial_state(self, geometry: KernelGeometry) -> State:
        vector = start_vector((1, *geometry.image))
        return {"power_iteration_vector": vector}

    @abc.abstractmethod
    def scale(self, kernel: Tensor) -> Tensor:
        """Returns the rescaled kernel whose norm is estimated."""

    @abc.abstractmethod
    def divide(self, kernel: Tensor, norm: Tensor) -> Tensor:
        """Divides a kernel by its estimated norm."""

    def constrain(
        self,
        geometry: KernelGeometry,
        weights: dict[str, Tensor],
        state: dict[str, Any],
        training: bool,
    ) -> tuple[Tensor, State]:
        kernel = self.scale(weights["free_kernel"])
        norm, vector = power_iteration(
            geometry.operator,
            kernel,
            ops.convert_to_tensor(state["power_iteration_vector"]),
            self.training_iterations if training else _INFERENCE_ITERATIONS,
        )
        return self.divide(kernel, norm), {"power_iteration_vector": vector}

    def get_config(self) -> Config:
        return {"training_iterations": self.training_iterations}


class UnitNorm(_EstimatedNorm):
    """Divides the kernel by its norm.

    Reference:

    - [Gouk et al., 2021](https://arxiv.org/abs/1804.04368), section 4
    """

    def scale(self, kernel: Tensor) -> Tensor:
        return scale_to_one(kernel, axis=None)

    def divide(self, kernel: Tensor, norm: Tensor) -> Tensor:
        # The norm is at least the largest entry that touches a pixel, so at
        # least one unless the kernel is zero.
        return kernel / ops.maximum(norm, 1e-12)


class ClippedNorm(_EstimatedNorm):
    """Divides the kernel by its norm if that exceeds one."""

    def scale(self, kernel: Tensor) -> Tensor:
        return kernel

    def divide(self, kernel: Tensor, norm: Tensor) -> Tensor:
        return kernel / ops.maximum(norm, 1.0)
