"""The exponential of a skew-symmetric matrix."""

from typing import ClassVar

import keras
from keras import ops

from keras_lip.linalg import skew_exponential
from keras_lip.linalg import transpose
from keras_lip.parametrizations.parametrization import Parametrization
from keras_lip.types import Config
from keras_lip.types import State
from keras_lip.types import Tensor
from keras_lip.validation import check_positive_integer


@keras.saving.register_keras_serializable(package="keras_lip")
class Exponential(Parametrization):
    """Orthogonalizes a matrix by the exponential of its skew part.

    The matrix `W`, with zero columns to make it square, gives the generator
    `A = W - W^T`, and the image is made of the first columns of `exp(A)`. Every
    rotation is reached, and its gradient does not vanish anywhere; the cost
    grows with the cube of the longer side.

    Args:
        squarings: Positive integer. The exponential is that of
            `A / 2^squarings`, squared as many times; a generator of a larger
            norm than `2^squarings` is scaled down to it.

    Raises:
        ValueError: If `squarings` is not a positive integer.

    Reference:

    - [Lezcano-Casado & Martínez-Rubio, 2019](https://arxiv.org/abs/1901.08428)
    """

    orthogonal: ClassVar[bool] = True

    def __init__(self, squarings: int = 6) -> None:
        self.squarings = check_positive_integer("squarings", squarings)

    def constrain(
        self, matrix: Tensor, state: State, training: bool
    ) -> tuple[Tensor, State]:
        rows, columns = matrix.shape[-2:]
        padding = [[0, 0]] * (len(matrix.shape) - 1) + [[0, rows - columns]]
        square = ops.pad(matrix, padding)
        image = skew_exponential(square - transpose(square), self.squarings)
        return image[..., :columns], state

    def get_config(self) -> Config:
        return {"squarings": self.squarings}
