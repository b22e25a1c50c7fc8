"""Kernels that are orthogonal as a matrix."""

import math
from collections.abc import Sequence
from typing import Any

from keras import ops

from keras_lip import parametrizations
from keras_lip.layers.convolutional.explicit_conv import ExplicitConv
from keras_lip.layers.parametrization_state import add_state
from keras_lip.layers.parametrization_state import assign_state
from keras_lip.parametrizations import Parametrization
from keras_lip.types import Config
from keras_lip.types import Shape
from keras_lip.types import Tensor


class RKOKernel(ExplicitConv):
    """What the RKO convolutions of all ranks and both directions share."""

    def __init__(
        self,
        rank: int,
        filters: int,
        kernel_size: int | Sequence[int],
        parametrization: str | Config | Parametrization = "bjorck",
        **kwargs: Any,
    ) -> None:
        super().__init__(rank, filters, kernel_size, **kwargs)
        self.parametrization = parametrizations.get(parametrization)
        if not self.parametrization.orthogonal:
            raise ValueError(
                f"`{type(self).__name__}` needs an orthogonal parametrization. "
                f"Received: parametrization={parametrization!r}"
            )

    def add_kernel(self, channels: int, sides: Shape) -> None:
        self.free_kernel = self.add_free_kernel(channels)
        *batch, rows, columns = self._matrix_shape(self.free_kernel.shape)
        tall = (*batch, max(rows, columns), min(rows, columns))
        self.state = add_state(self, self.parametrization.initial_state(tall))

    def compute_kernel(self, training: bool = False) -> Tensor:
        kernel = ops.convert_to_tensor(self.free_kernel)
        shape = kernel.shape
        *batch, rows, columns = self._matrix_shape(shape)
        matrix = ops.reshape(kernel, (rows, *batch, columns))
        matrix = ops.moveaxis(matrix, 1, 0) if batch else matrix
        matrix, state = self.parametrization(matrix, self.state, training)
        if training:
            assign_state(self.state, state)
        matrix = ops.moveaxis(matrix, 0, 1) if batch else matrix
        # A pixel is in as many windows as there are taps that meet it, and the
        # squares of the outputs count it once for each.
        overlap = 1
        for taps, stride in zip(self.kernel_size, self.strides, strict=True):
            overlap *= -(-taps // stride)
        return ops.reshape(matrix, shape) / math.sqrt(overlap)

    def proven_kernel(self) -> Tensor:
        return self.kernel

    def _matrix_shape(self, kernel_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the shape of the reshaped kernel, one matrix a group."""
        rows, columns = math.prod(kernel_shape[:-1]), kernel_shape[-1]
        if self.groups == 1:
            return (rows, columns)
        return (self.groups, rows, columns // self.groups)

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "parametrization": parametrizations.serialize(self.parametrization),
        }
