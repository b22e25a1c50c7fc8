"""The exponential of a skew-symmetric matrix."""

import math
from typing import ClassVar

import keras
import numpy as np

from keras_lip.linalg import skew_exponential
from keras_lip.linalg import transpose
from keras_lip.operators import pad_zeros
from keras_lip.parametrizations.parametrization import Parametrization
from keras_lip.types import Array
from keras_lip.types import Config
from keras_lip.types import State
from keras_lip.types import Tensor
from keras_lip.validation import check_positive_integer

# An angle that is closer than this to half a turn counts as half a turn.
_SMALLEST_REST = 1e-6


@keras.saving.register_keras_serializable(package="keras_lip")
class Exponential(Parametrization):
    """Orthogonalizes a matrix by the exponential of its skew part.

    The matrix `W` is padded with zero columns to a square matrix, which gives
    the generator `A = W - W^T`. The image consists of the first columns of
    `exp(A)`. The image of a square matrix is a rotation: its determinant is
    one, at the start, in every step of training, and for any weights (the group
    `SO(n)`). Every rotation can be reached, in contrast to `Cayley`, but no
    reflection. `Cayley` says what this means. The cost is cubic in the longer
    side.

    Args:
        squarings: Positive integer. Number of squarings: the exponential of `A
            / 2^squarings` is computed and squared `squarings` times. A
            generator with a norm of more than `2^squarings` is scaled down to
            this norm. Defaults to `6`.

    Raises:
        ValueError: If `squarings` is not a positive integer.

    Reference:

    - [Lezcano-Casado & Martínez-Rubio, 2019](https://arxiv.org/abs/1901.08428)
    """

    orthogonal: ClassVar[bool] = True
    reach: ClassVar[str] = (
        "rotations: square orthogonal matrices with determinant one, and with "
        "`squarings` large enough for their angles"
    )

    def __init__(self, squarings: int = 6) -> None:
        self.squarings = check_positive_integer("squarings", squarings)

    def invert(self, matrix: Array) -> Array:
        if matrix.shape[0] != matrix.shape[1]:
            return matrix
        # The eigenvalues of the symmetric part of a rotation are the cosines of
        # its angles. On their eigenvectors, the skew part acts by the sines and
        # the logarithm acts by the angles.
        skew = (matrix - matrix.T) / 2
        cosines, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
        sines = np.linalg.norm(skew @ vectors, axis=0)
        angles = np.arctan2(sines, cosines)
        half = angles > math.pi - _SMALLEST_REST
        quotients = 1 / np.sinc(np.where(half, 0, angles / math.pi))
        logarithm = skew @ (vectors * quotients * ~half) @ vectors.T
        # Half turns in the planes spanned by pairs of eigenvectors.
        first, second = vectors[:, half][:, :-1:2], vectors[:, half][:, 1::2]
        turns = math.pi * first @ second.T
        return (logarithm + turns - turns.T) / 2

    def constrain(
        self, matrix: Tensor, state: State, training: bool
    ) -> tuple[Tensor, State]:
        rows, columns = matrix.shape[-2:]
        padding = [[0, 0]] * (len(matrix.shape) - 1) + [[0, rows - columns]]
        square = pad_zeros(matrix, padding)
        image = skew_exponential(square - transpose(square), self.squarings)
        return image[..., :columns], state

    def get_config(self) -> Config:
        return {"squarings": self.squarings}
