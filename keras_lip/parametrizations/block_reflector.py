"""Orthogonal matrices that reflect a subspace."""

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
    """Reflects the subspace that the columns of a matrix span.

    With `V` of `n` rows, the image is `I - 2 V (V^T V)^{-1} V^T`, or its first
    columns: a matrix that is symmetric, orthogonal and its own inverse, of
    low-rank weights (block reflector, BRO). It takes no iteration.

    The reflector of `n` independent columns is `-I`, whatever they are. Of a
    square matrix therefore a share of the columns counts, `rank_ratio`, and
    `OrthogonalDense` keeps no others as weights; of a matrix that is not square
    all of them.

    The image is orthogonal if the columns are independent, and up to 1e-5 if
    they are so to a thousandth. Of those that are not it may shrink some
    directions; a matrix of zero has the identity for its image.

    A training step on a batch multiplies by a basis of the subspace, and never
    forms the image.

    Args:
        rank_ratio: Float, greater than 0 and at most 1. Which share of the
            columns of a square matrix is reflected: as many columns, rounded
            down, but at least one, and one less than all. Defaults to `0.5`.

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
        "matrices of orthonormal columns, or rows, whose square part is "
        "symmetric and has no eigenvalue of one; and of square matrices "
        "symmetric ones, with a share of eigenvalues of minus one of "
        "`rank_ratio` at most"
    )

    def __init__(self, rank_ratio: float = 0.5) -> None:
        self.rank_ratio = check_number(
            "rank_ratio", rank_ratio, 0.0, 1.0, open_low=True
        )

    def find_rank(self, size: int) -> int:
        """Returns how many columns of a square matrix of a size count."""
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
        # `(x I) - 2 (x Q) Q^T`, with the rows of `Q` that either side has.
        along = ops.matmul(x, basis[:rows])
        across = ops.matmul(along, transpose(basis[:columns]))
        kept = x[..., :columns]
        if rows < columns:
            widths = [(0, 0)] * (len(x.shape) - 1)
            kept = pad_zeros(x, [*widths, (0, columns - rows)])
        return ops.cast(kept - 2.0 * across, inputs.dtype), state

    def _find_basis(self, matrix: Tensor) -> Tensor:
        """Returns a basis of the subspace, of a matrix with rows enough."""
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
        # Twice the projector on what is reflected.
        left, values, _ = np.linalg.svd(difference)
        return left * (values > 1.0)

    def get_config(self) -> Config:
        return {"rank_ratio": self.rank_ratio}


def reflected_rank(size: int, ratio: float) -> int:
    """Returns how many dimensions of a space are reflected.

    Args:
        size: Positive integer. Dimension of the space.
        ratio: Float. Share of it.

    Returns:
        Integer, at least one and below `size`, but one if that is one.
    """
    return max(1, min(math.floor(size * ratio), size - 1))
