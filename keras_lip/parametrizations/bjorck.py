"""Orthogonalization by Björck's iteration."""

from typing import ClassVar

import keras

from keras_lip.linalg import bjorck_step
from keras_lip.linalg import rescale_columns
from keras_lip.parametrizations.parametrization import Parametrization
from keras_lip.types import Config
from keras_lip.types import State
from keras_lip.types import Tensor
from keras_lip.validation import check_positive_integer


@keras.saving.register_keras_serializable(package="keras_lip")
class Bjorck(Parametrization):
    """Orthogonalizes a matrix by Björck's iteration.

    Each iteration maps every singular value `s` to `(3 s - s^3) / 2`. This
    function maps `[0, 1]` into itself and moves every positive value towards
    one. The matrix is first rescaled to a spectral norm of at most one. The
    result is therefore 1-Lipschitz for any number of iterations, and closer to
    orthogonal with more iterations.

    Singular values of zero stay zero: if the columns of the matrix are linearly
    dependent, the result is not orthogonal. Small singular values grow by a
    factor of 1.5 in each iteration. `Cayley`, `Exponential` and `QR` give an
    orthogonal result for any matrix.

    Args:
        iterations: Positive integer. Number of iterations. Defaults to `15`.

    Raises:
        ValueError: If `iterations` is not a positive integer.

    Example:

    >>> layer = keras_lip.layers.OrthogonalDense(
    ...     64, parametrization=keras_lip.parametrizations.Bjorck(iterations=8)
    ... )

    Reference:

    - [Björck & Bowie, 1971](https://doi.org/10.1137/0708036)
    - [Anil et al., 2019](https://arxiv.org/abs/1811.05381), equation 3
    """

    orthogonal: ClassVar[bool] = True

    def __init__(self, iterations: int = 15) -> None:
        self.iterations = check_positive_integer("iterations", iterations)

    def constrain(
        self, matrix: Tensor, state: State, training: bool
    ) -> tuple[Tensor, State]:
        matrix = rescale_columns(matrix)
        for _ in range(self.iterations):
            matrix = bjorck_step(matrix)
        return matrix, state

    def get_config(self) -> Config:
        return {"iterations": self.iterations}
