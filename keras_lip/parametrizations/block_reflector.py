"""Orthogonal matrices that reflect a subspace (block reflectors)."""

import math
from typing import ClassVar

import keras
import numpy as np
from keras import ops

from keras_lip.linalg import orthonormal_basis
from keras_lip.linalg import transpose
from keras_lip.operators import pad_zeros
from keras_lip.parametrizations.parametrization import Parametrization
from keras_lip.types import Array
from keras_lip.types import Config
from keras_lip.types import State
from keras_lip.types import Tensor
from keras_lip.validation import check_number


@keras.saving.register_keras_serializable(package="keras_lip")
class BlockReflector(Parametrization):
    """Maps a matrix to the reflector of its column space.

    For a matrix `V` with `n` rows, the image is `I - 2 V (V^T V)^{-1} V^T`, or
    its first columns (block reflector, BRO). The full matrix is symmetric,
    orthogonal and its own inverse, and needs only low-rank weights. It is
    computed without iteration.

    The reflector of any `n` linearly independent columns is `-I`. So only a
    fraction `rank_ratio` of the columns of a square matrix is used, and
    `OrthogonalDense` creates only these columns as weights. If the matrix is
    not square, all columns are used.

    The image is orthogonal if the columns are linearly independent. It is
    orthogonal up to 1e-5 if their smallest singular value is at least a
    thousandth of the largest. If the columns are linearly dependent, the image
    may shrink some directions. The image of a zero matrix is the identity.

    A training step multiplies a batch by a basis of the subspace and never
    forms the image.

    Args:
        rank_ratio: Float, greater than 0 and at most 1. Fraction of the columns
            of a square matrix that span the reflected subspace. The number of
            columns is rounded down, but it is at least one and at most one less
            than all. Defaults to `0.5`.

    Raises:
        ValueError: If `rank_ratio` is out of range.

    Example:

    >>> layer = keras_lip.layers.OrthogonalDense(
    ...     8, parametrization="block_reflector"
    ... )
    >>> layer.build((None, 8))
    >>> tuple(layer.free_kernel.shape)
    (8, 4)

    Reference:

    - [Lai et al., 2025](https://arxiv.org/abs/2505.15174), on the block
      reflector orthogonal layer
    - [Schreiber & Parlett, 1988](https://doi.org/10.1137/0725014)
    """

    orthogonal: ClassVar[bool] = True
    reach: ClassVar[str] = (
        "matrices with orthonormal columns or rows whose square part is "
        "symmetric and has no eigenvalue of one; and symmetric orthogonal "
        "matrices with a fraction of at most `rank_ratio` of eigenvalues of "
        "minus one"
    )

    def __init__(self, rank_ratio: float = 0.5) -> None:
        self.rank_ratio = check_number(
            "rank_ratio", rank_ratio, 0.0, 1.0, open_low=True
        )

    def find_rank(self, size: int) -> int:
        """Returns the number of columns that are used of a square matrix."""
        return reflected_rank(size, self.rank_ratio)

    def free_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        *batch, rows, columns = shape
        if rows != columns:
            return shape
        return (*batch, rows, self.find_rank(rows))

    def constrain(
        self, matrix: Tensor, state: State, training: bool
    ) -> tuple[Tensor, State]:
        rows, columns = matrix.shape[-2:]
        basis = self._find_basis(matrix)
        head = transpose(basis[..., :columns, :])
        identity = ops.eye(rows, columns, dtype=matrix.dtype)
        return identity - 2.0 * ops.matmul(basis, head), state

    def multiply(
        self, inputs: Tensor, matrix: Tensor, state: State
    ) -> tuple[Tensor, State]:
        matrix = ops.convert_to_tensor(matrix)
        rows, columns = matrix.shape
        tall = matrix if rows >= columns else transpose(matrix)
        basis = self._find_basis(tall)
        x = ops.cast(inputs, matrix.dtype)
        # `(x I) - 2 (x Q) Q^T`, where each `Q` has only the rows of its side.
        along = ops.matmul(x, basis[:rows])
        across = ops.matmul(along, transpose(basis[:columns]))
        kept = x[..., :columns]
        if rows < columns:
            widths = [(0, 0)] * (len(x.shape) - 1)
            kept = pad_zeros(x, [*widths, (0, columns - rows)])
        return ops.cast(kept - 2.0 * across, inputs.dtype), state

    def _find_basis(self, matrix: Tensor) -> Tensor:
        """Returns a basis of the subspace. `matrix` has `rows >= columns`."""
        rows, columns = matrix.shape[-2:]
        if rows == columns:
            matrix = matrix[..., : self.find_rank(rows)]
        return orthonormal_basis(matrix)

    def invert(self, matrix: Array) -> Array:
        rows, columns = matrix.shape
        difference = np.eye(rows, columns) - matrix
        if rows != columns:
            # With the head `H`, `V^T V = 2 (I - H)`, and `E - V = Q`.
            return difference
        # The difference is twice the projector onto the reflected subspace.
        left, values, _ = np.linalg.svd(difference)
        return left * (values > 1.0)

    def get_config(self) -> Config:
        return {"rank_ratio": self.rank_ratio}


def reflected_rank(size: int, ratio: float) -> int:
    """Returns the number of reflected dimensions of a space.

    Args:
        size: Positive integer. Dimension of the space.
        ratio: Float. Fraction of the dimensions that are reflected.

    Returns:
        Integer, at least one and less than `size`. It is one if `size` is one.
    """
    return max(1, min(math.floor(size * ratio), size - 1))
