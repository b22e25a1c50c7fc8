"""Kernels of orthogonal convolutions, from orthogonal matrices."""

import math
from collections.abc import Sequence
from typing import Any

from keras import ops

from keras_lip import parametrizations
from keras_lip.layers.convolutional.explicit_conv import ExplicitConv
from keras_lip.layers.parametrization_state import add_state
from keras_lip.layers.parametrization_state import assign_state
from keras_lip.linalg import block_product
from keras_lip.linalg import transpose
from keras_lip.parametrizations import Parametrization
from keras_lip.types import Config
from keras_lip.types import Shape
from keras_lip.types import Tensor


class BCOPKernel(ExplicitConv):
    """What the BCOP convolutions of all ranks and both directions share.

    An orthogonal convolution without strides, made of two-tap factors
    `[P, I - P]` along one axis each, is followed by an orthogonal matrix on the
    pixels of every window of the size of the strides.
    """

    guarantee = "orthogonal with circular padding"

    def __init__(
        self,
        rank: int,
        filters: int,
        kernel_size: int | Sequence[int],
        parametrization: str | Config | Parametrization = "cayley",
        **kwargs: Any,
    ) -> None:
        super().__init__(rank, filters, kernel_size, **kwargs)
        self.parametrization = parametrizations.get(parametrization)
        if not self.parametrization.orthogonal:
            raise ValueError(
                f"`{type(self).__name__}` needs an orthogonal parametrization. "
                f"Received: parametrization={parametrization!r}"
            )
        excess = [
            taps - stride
            for taps, stride in zip(self.kernel_size, self.strides, strict=True)
        ]
        if min(excess) < 0:
            raise ValueError(
                "An orthogonal convolution skips no pixel: `kernel_size` must "
                "be at least `strides` along every axis. Received: "
                f"kernel_size={self.kernel_size}, strides={self.strides}"
            )
        # Axes take turns, as in equation 5 of the paper.
        self.factors = [
            (turn, axis)
            for turn in range(max(excess))
            for axis in range(rank)
            if turn < excess[axis]
        ]

    def add_kernel(self, channels: int, sides: Shape) -> None:
        self.kernel_shape = self.shape_kernel(channels)
        inputs, filters = self.kernel_shape[-2:]
        filters //= self.groups
        phases = math.prod(self.strides)
        # The widest image between the factors and the matrix that leaves the
        # composition orthogonal. If the kernel widens (`phases * inputs <=
        # filters`), the matrix must not reduce: `phases * inner <= filters`.
        # If it reduces, the factors must not widen: `inner <= inputs`.
        inner = max(inputs, filters // phases)
        self.free_kernel = self._add_matrices(
            "free_kernel", (self.groups, phases * inner, filters)
        )
        self.state = self._add_state(self.free_kernel)
        if self.factors:
            half = max(inner // 2, 1)
            self.free_projectors = self._add_matrices(
                "free_projectors",
                (len(self.factors), self.groups, inner, half),
            )
            self.projector_state = self._add_state(self.free_projectors)

    def _add_matrices(self, name: str, shape: tuple[int, ...]) -> Any:
        # They stay in float32 under mixed precision: constrained in bfloat16,
        # their norms would exceed one.
        return self.add_weight(
            name=name,
            shape=shape,
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            autocast=False,
        )

    def _add_state(self, weight: Any) -> dict[str, Any]:
        *batch, rows, columns = weight.shape
        tall = (*batch, max(rows, columns), min(rows, columns))
        return add_state(self, self.parametrization.initial_state(tall))

    def compute_kernel(self, training: bool = False) -> Tensor:
        matrix = self._constrain(self.free_kernel, self.state, training)
        inner = matrix.shape[-2] // math.prod(self.strides)
        matrix = ops.reshape(
            matrix, (self.groups, *self.strides, inner, matrix.shape[-1])
        )
        kernels = [*self._factor_kernels(training), ops.moveaxis(matrix, 0, -3)]
        # The channels that the image lacks would be zero.
        kernels[0] = kernels[0][..., : self.kernel_shape[-2], :]
        kernel = ops.swapaxes(block_product(kernels, self.rank), -3, -2)
        return ops.reshape(kernel, self.kernel_shape)

    def _factor_kernels(self, training: bool) -> list[Tensor]:
        """Returns two-tap kernels, of one matrix for each group."""
        if not self.factors:
            return []
        basis = self._constrain(
            self.free_projectors, self.projector_state, training
        )
        projectors = ops.matmul(basis, transpose(basis))
        identity = ops.eye(projectors.shape[-1], dtype=projectors.dtype)
        kernels = []
        for (turn, axis), projector in zip(
            self.factors, ops.unstack(projectors), strict=True
        ):
            taps = [projector, identity - projector]
            # Every other turn goes the other way: whatever the projectors have
            # in common, their ranks to begin with, would shift the image.
            taps = ops.stack(taps[::-1] if turn % 2 else taps)
            window = [1] * self.rank
            window[axis] = 2
            kernels.append(ops.reshape(taps, (*window, *taps.shape[1:])))
        return kernels

    def _constrain(
        self, weight: Any, variables: dict[str, Any], training: bool
    ) -> Tensor:
        matrix, state = self.parametrization(
            ops.convert_to_tensor(weight), variables, training
        )
        if training:
            assign_state(variables, state)
        return matrix

    def proven_kernel(self) -> Tensor:
        return self.kernel

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "parametrization": parametrizations.serialize(self.parametrization),
        }
