"""Division by the Frobenius norm."""

from typing import ClassVar

import keras
from keras import ops

from keras_lip.linalg import scale_to_one
from keras_lip.parametrizations.parametrization import Parametrization
from keras_lip.types import State
from keras_lip.types import Tensor


@keras.saving.register_keras_serializable(package="keras_lip")
class Frobenius(Parametrization):
    """Divides a matrix by its Frobenius norm.

    The spectral norm is at most the Frobenius norm. They are equal for a single
    row or column, for example in a layer with one unit, such as the last layer
    of a critic. For other shapes the spectral norm of the result may be far
    below one.

    Reference:

    - [Neyshabur et al., 2015](https://arxiv.org/abs/1503.00036) on norms of
      layers
    """

    reach: ClassVar[str] = "matrices of Frobenius norm one"

    def constrain(
        self, matrix: Tensor, state: State, training: bool
    ) -> tuple[Tensor, State]:
        matrix = scale_to_one(matrix, axis=(-2, -1))
        squares = ops.sum(ops.square(matrix), axis=(-2, -1), keepdims=True)
        return ops.multiply(matrix, ops.rsqrt(squares + 1e-12)), state
