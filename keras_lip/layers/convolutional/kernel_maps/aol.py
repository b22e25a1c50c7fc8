"""Almost-orthogonal rescaling."""

from typing import Any

from keras_lip.layers.convolutional.kernel_maps.kernel_map import KernelGeometry
from keras_lip.layers.convolutional.kernel_maps.kernel_map import KernelMap
from keras_lip.linalg import rescale_kernel
from keras_lip.types import State
from keras_lip.types import Tensor


class AOL(KernelMap):
    """Divides channels by the square roots of the sums of their correlations.

    Reference:

    - [Prach & Lampert, 2022](https://arxiv.org/abs/2208.03160), Theorem 2
    """

    def constrain(
        self,
        geometry: KernelGeometry,
        weights: dict[str, Tensor],
        state: dict[str, Any],
        training: bool,
    ) -> tuple[Tensor, State]:
        kernel = weights["free_kernel"]
        return rescale_kernel(kernel, geometry.strides, geometry.groups), {}
