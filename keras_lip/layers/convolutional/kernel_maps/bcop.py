"""Block convolution orthogonal parameterization."""

import math
from typing import Any

from keras import ops

from keras_lip.layers.convolutional.kernel_maps.kernel_map import KernelGeometry
from keras_lip.layers.convolutional.kernel_maps.kernel_map import (
    ParametrizedKernelMap,
)
from keras_lip.linalg import block_product
from keras_lip.linalg import transpose
from keras_lip.types import State
from keras_lip.types import Tensor

# Prefix that separates the states of the projectors from those of the matrix.
_PREFIX = "projector_"


class BCOP(ParametrizedKernelMap):
    """Composes two-tap projectors and an orthogonal matrix.

    An orthogonal convolution without strides, composed of factors `[P, I - P]`
    along one axis each, is followed by an orthogonal matrix on the pixels of
    non-overlapping windows of size `strides`.

    Reference:

    - [Li et al., 2019](https://arxiv.org/abs/1911.00937), equation 5 and
      Algorithm 1
    - [Boissin et al., 2025](https://arxiv.org/abs/2501.07930), for strides
    """

    may_skip_pixels = False

    def weight_shapes(
        self, geometry: KernelGeometry
    ) -> dict[str, tuple[int, ...]]:
        groups, phases = geometry.groups, math.prod(geometry.strides)
        inputs, filters = geometry.shape[-2], geometry.shape[-1] // groups
        # The largest number of channels between the factors and the matrix for
        # which the composition is orthogonal. If the kernel widens (`phases *
        # inputs <= filters`), the matrix must not reduce: `phases * inner <=
        # filters`. If it reduces, the factors must not widen: `inner <=
        # inputs`.
        inner = max(inputs, filters // phases)
        shapes: dict[str, tuple[int, ...]] = {}
        shapes["free_kernel"] = (groups, phases * inner, filters)
        factors = _list_factors(geometry)
        if factors:
            half = max(inner // 2, 1)
            shape = (len(factors), groups, inner, half)
            shapes["free_projectors"] = shape
        return shapes

    def initial_state(self, geometry: KernelGeometry) -> State:
        shapes = self.weight_shapes(geometry)
        state = self.matrix_state(shapes["free_kernel"])
        if "free_projectors" in shapes:
            projectors = self.matrix_state(shapes["free_projectors"])
            state |= {_PREFIX + name: projectors[name] for name in projectors}
        return state

    def constrain(
        self,
        geometry: KernelGeometry,
        weights: dict[str, Tensor],
        state: dict[str, Any],
        training: bool,
    ) -> tuple[Tensor, State]:
        own = {k: v for k, v in state.items() if not k.startswith(_PREFIX)}
        matrix, moved = self.parametrization(
            weights["free_kernel"], own, training
        )
        inner = matrix.shape[-2] // math.prod(geometry.strides)
        matrix = ops.reshape(
            matrix,
            (geometry.groups, *geometry.strides, inner, matrix.shape[-1]),
        )
        kernels = [ops.moveaxis(matrix, 0, -3)]
        if "free_projectors" in weights:
            others = {
                name.removeprefix(_PREFIX): value
                for name, value in state.items()
                if name.startswith(_PREFIX)
            }
            bases, others = self.parametrization(
                weights["free_projectors"], others, training
            )
            kernels = [*_factor_kernels(geometry, bases), *kernels]
            moved = {
                **moved,
                **{_PREFIX + name: value for name, value in others.items()},
            }
        # Missing channels of the image count as zero, so their rows are
        # dropped.
        kernels[0] = kernels[0][..., : geometry.shape[-2], :]
        kernel = ops.swapaxes(block_product(kernels, geometry.rank), -3, -2)
        return ops.reshape(kernel, geometry.shape), moved


def _list_factors(geometry: KernelGeometry) -> list[tuple[int, int]]:
    """Returns the turn and the axis of each two-tap factor."""
    excess = [
        taps - stride
        for taps, stride in zip(geometry.shape, geometry.strides, strict=False)
    ]
    # Axes alternate, as in equation 5 of the paper.
    return [
        (turn, axis)
        for turn in range(max(excess))
        for axis in range(geometry.rank)
        if turn < excess[axis]
    ]


def _factor_kernels(geometry: KernelGeometry, bases: Tensor) -> list[Tensor]:
    """Returns two-tap kernels, with one matrix for each group."""
    projectors = ops.matmul(bases, transpose(bases))
    identity = ops.eye(projectors.shape[-1], dtype=projectors.dtype)
    kernels = []
    for (turn, axis), projector in zip(
        _list_factors(geometry), ops.unstack(projectors), strict=True
    ):
        taps = [projector, identity - projector]
        # Every second turn is reversed. Otherwise common properties of the
        # projectors, such as their ranks, would shift the image.
        taps = ops.stack(taps[::-1] if turn % 2 else taps)
        window = [1] * geometry.rank
        window[axis] = 2
        kernels.append(ops.reshape(taps, (*window, *taps.shape[1:])))
    return kernels
