"""Kernels of any norm, which is estimated and not constrained."""

from typing import Any

import keras
from keras import ops

from keras_lip.layers.convolutional.kernel_maps.kernel_map import KernelGeometry
from keras_lip.layers.convolutional.kernel_maps.kernel_map import KernelMap
from keras_lip.linalg import power_iteration
from keras_lip.linalg import start_vector
from keras_lip.operators import pad_zeros
from keras_lip.types import State
from keras_lip.types import Tensor

# Iterations of the power method in each step, as in Hu et al., 2023.
NUM_ITERATIONS = 10


class Free(KernelMap):
    """Uses the trained kernel unchanged.

    The power method estimates the norm of the convolution. Its state is an
    image of the size that the layer is built for.

    Reference:

    - [Leino et al., 2021](https://arxiv.org/abs/2102.08452), section 3
    """

    def initial_state(self, geometry: KernelGeometry) -> State:
        vector = start_vector((1, *geometry.image))
        return {"power_iteration_vector": vector}

    def constrain(
        self,
        geometry: KernelGeometry,
        weights: dict[str, Tensor],
        state: dict[str, Any],
        training: bool,
    ) -> tuple[Tensor, State]:
        # Only `estimate_norm` updates the state, not every step.
        return weights["free_kernel"], {}

    def estimate_norm(
        self,
        geometry: KernelGeometry,
        kernel: Tensor,
        state: dict[str, Any],
        training: bool,
    ) -> tuple[Any, State]:
        norm, vector = power_iteration(
            geometry.operator,
            kernel,
            ops.convert_to_tensor(state["power_iteration_vector"]),
            NUM_ITERATIONS,
        )
        return norm, {"power_iteration_vector": vector}


class Residual(Free):
    """Adds the identity to a multiple of the kernel.

    The identity is a kernel with one nonzero tap: the tap that reads the pixel
    at the position of the output.

    Args:
        scale: Float. Factor of the kernel.

    Reference:

    - [Hu et al., 2023](https://arxiv.org/abs/2301.12549), section 4
    """

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def weight_shapes(
        self, geometry: KernelGeometry
    ) -> dict[str, tuple[int, ...]]:
        return {"free_kernel": geometry.shape, "gamma": geometry.shape[-1:]}

    def initializers(self) -> dict[str, Any]:
        return {"gamma": keras.initializers.get("ones")}

    def constrain(
        self,
        geometry: KernelGeometry,
        weights: dict[str, Tensor],
        state: dict[str, Any],
        training: bool,
    ) -> tuple[Tensor, State]:
        kernel = weights["free_kernel"]
        *window, channels, filters = geometry.shape
        identity = ops.eye(channels, filters, dtype=kernel.dtype)
        identity = ops.reshape(
            identity, (*(1 for _ in window), channels, filters)
        )
        widths = [
            (center, taps - 1 - center)
            for center, taps in zip(_center(geometry), window, strict=True)
        ]
        identity = pad_zeros(identity, [*widths, (0, 0), (0, 0)])
        return identity + kernel * (weights["gamma"] * self.scale), {}

    def get_config(self) -> dict[str, Any]:
        return {"scale": self.scale}


def _center(geometry: KernelGeometry) -> list[int]:
    """Returns the index of the tap at the position of the output.

    Without strides, `"same"` pads `(taps - 1) // 2` pixels before the image.
    `"valid"` removes as many pixels.
    """
    return [(taps - 1) // 2 for taps in geometry.shape[: geometry.rank]]
