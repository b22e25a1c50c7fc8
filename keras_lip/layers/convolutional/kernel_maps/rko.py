"""Reshaped kernel orthogonalization."""

import math
from typing import Any

from keras import ops

from keras_lip.layers.convolutional.kernel_maps.kernel_map import KernelGeometry
from keras_lip.layers.convolutional.kernel_maps.kernel_map import (
    ParametrizedKernelMap,
)
from keras_lip.types import State
from keras_lip.types import Tensor


class RKO(ParametrizedKernelMap):
    """Makes the kernel orthogonal as a matrix, and divides by the overlap.

    Reference:

    - [Serrurier et al., 2021](https://arxiv.org/abs/2006.06520), appendix
    - [Li et al., 2019](https://arxiv.org/abs/1911.00937), section 4.1
    """

    def initial_state(self, geometry: KernelGeometry) -> State:
        return self.matrix_state(_matrix_shape(geometry))

    def constrain(
        self,
        geometry: KernelGeometry,
        weights: dict[str, Tensor],
        state: dict[str, Any],
        training: bool,
    ) -> tuple[Tensor, State]:
        *batch, rows, columns = _matrix_shape(geometry)
        kernel = weights["free_kernel"]
        matrix = ops.reshape(kernel, (rows, *batch, columns))
        matrix = ops.moveaxis(matrix, 1, 0) if batch else matrix
        matrix, state = self.parametrization(matrix, state, training)
        matrix = ops.moveaxis(matrix, 0, 1) if batch else matrix
        # A pixel is in as many windows as there are taps that touch it, and
        # contributes to the squared norm of the outputs once for each window.
        overlap = 1
        for taps, stride in zip(geometry.shape, geometry.strides, strict=False):
            overlap *= -(-taps // stride)
        return ops.reshape(matrix, geometry.shape) / math.sqrt(overlap), state


def _matrix_shape(geometry: KernelGeometry) -> tuple[int, ...]:
    """Returns the shape of the reshaped kernel, one matrix for each group."""
    rows, columns = math.prod(geometry.shape[:-1]), geometry.shape[-1]
    if geometry.groups == 1:
        return (rows, columns)
    return (geometry.groups, rows, columns // geometry.groups)
