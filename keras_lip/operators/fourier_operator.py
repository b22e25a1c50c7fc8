"""Convolutions of images of a fixed size, in the Fourier domain."""

import dataclasses
import math
from typing import Any

import numpy as np
from keras import ops

from keras_lip.operators.linear_operator import LinearOperator
from keras_lip.traces import constant
from keras_lip.types import Array
from keras_lip.types import Tensor


@dataclasses.dataclass(frozen=True)
class FourierOperator(LinearOperator):
    """Multiplies the Fourier transform of images by a matrix per frequency.

    The images have the shape `(rows, columns, channels)`. Half of the spectrum
    of a real image determines the other half, so `rows * (columns // 2 + 1)`
    frequencies are used. The kernel has the shape `(frequencies, 2 * channels,
    2 * filters)`: a complex matrix `P + i Q` is the real matrix `[[P, Q], [-Q,
    P]]`, which multiplies row vectors of the real parts of the channels,
    followed by their imaginary parts.

    The operator is `T^T K T`, where `K` is the block-diagonal matrix of the
    kernel. Frequencies that represent two frequencies are scaled by the square
    root of two, so `T` is an isometry, and the norm of the operator is at most
    the largest norm of its matrices.

    The transforms are products with small matrices. For sides of up to a few
    hundred pixels they cost no more than the convolution that they replace.
    They are differentiable and compile on every backend.

    Args:
        sides: Pair of positive integers. Rows and columns of the images.
    """

    sides: tuple[int, int]

    def matvec(self, kernel: Tensor, inputs: Tensor) -> Tensor:
        return self.invert(ops.matmul(self.transform(inputs), kernel))

    def adjoint(self, kernel: Tensor, outputs: Tensor) -> Tensor:
        return self.matvec(ops.transpose(kernel, (0, 2, 1)), outputs)

    def transform(self, images: Tensor) -> Tensor:
        """Returns the half spectrum of images.

        Args:
            images: Tensor of shape `(batch_size, rows, columns, channels)`.

        Returns:
            Tensor of shape `(frequencies, batch_size, 2 * channels)`.
        """
        rows, columns = self.sides
        channels = images.shape[-1]
        half = columns // 2 + 1
        row_matrix, column_matrix = self.matrices(images.dtype)
        images = ops.matmul(column_matrix, images)
        images = ops.reshape(images, (-1, 2 * rows, half * channels))
        images = ops.matmul(row_matrix, images)
        # Batch, row frequency, part, column frequency and channel.
        images = ops.reshape(images, (-1, rows, 2, half, channels))
        images = ops.transpose(images, (1, 3, 0, 2, 4))
        return ops.reshape(images, (rows * half, -1, 2 * channels))

    def invert(self, spectrum: Tensor) -> Tensor:
        """Applies the adjoint and left inverse of `transform`."""
        rows, columns = self.sides
        channels = spectrum.shape[-1] // 2
        half = columns // 2 + 1
        row_matrix, column_matrix = self.matrices(spectrum.dtype)
        images = ops.reshape(spectrum, (rows, half, -1, 2, channels))
        images = ops.transpose(images, (2, 0, 3, 1, 4))
        images = ops.reshape(images, (-1, 2 * rows, half * channels))
        images = ops.matmul(ops.transpose(row_matrix), images)
        images = ops.reshape(images, (-1, rows, 2 * half, channels))
        return ops.matmul(ops.transpose(column_matrix), images)

    def matrices(self, dtype: str) -> tuple[Tensor, Tensor]:
        """Returns the matrices whose Kronecker product is the transform.

        The matrix of the columns maps a real signal to the real parts and then
        the imaginary parts of its half spectrum. The matrix of the rows maps
        signals with alternating real and imaginary parts to spectra of the same
        form.
        """
        rows, columns = self.sides
        return _row_matrix(rows, dtype), _column_matrix(columns, dtype)


def _angles(frequencies: int, size: int) -> Array:
    # Reduce before the division, because cosines of large angles are less
    # accurate.
    turns = np.outer(np.arange(frequencies), np.arange(size)) % size
    return 2 * np.pi / size * turns


@constant
def _row_matrix(size: int, dtype: Any) -> Tensor:
    angles = _angles(size, size)
    cosines, sines = np.cos(angles), np.sin(angles)
    parts = np.array([[cosines, sines], [-sines, cosines]]) / math.sqrt(size)
    matrix = parts.transpose(2, 0, 3, 1).reshape(2 * size, 2 * size)
    return ops.convert_to_tensor(matrix, dtype=dtype)


@constant
def _column_matrix(size: int, dtype: Any) -> Tensor:
    half = size // 2 + 1
    frequencies = np.arange(half)
    # The other frequencies also represent their conjugates.
    alone = (2 * frequencies) % size == 0
    scales = np.sqrt(np.where(alone, 1, 2) / size)[:, np.newaxis]
    angles = _angles(half, size)
    parts = [scales * np.cos(angles), -scales * np.sin(angles)]
    return ops.convert_to_tensor(np.concatenate(parts), dtype=dtype)
