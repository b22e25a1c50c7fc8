"""The Cayley transform."""

from typing import ClassVar

import keras
from keras import ops

from keras_lip.linalg import transpose
from keras_lip.parametrizations.parametrization import Parametrization
from keras_lip.types import State
from keras_lip.types import Tensor


@keras.saving.register_keras_serializable(package="keras_lip")
class Cayley(Parametrization):
    """Orthogonalizes a matrix by the Cayley transform of its skew part.

    The square head `U` and the tail `V` of the matrix give
    `A = U - U^T + V^T V`, and the image stacks `(I - A) (I + A)^{-1}` over
    `-2 V (I + A)^{-1}`. It costs one linear solve and no iteration.

    Reference:

    - [Trockman & Kolter, 2021](https://arxiv.org/abs/2104.07167), section 3.1
      and appendix A for matrices that are not square.
    """

    orthogonal: ClassVar[bool] = True

    def constrain(self, matrix: Tensor, state: State) -> tuple[Tensor, State]:
        columns = matrix.shape[-1]
        head, tail = matrix[..., :columns, :], matrix[..., columns:, :]
        generator = head - transpose(head) + ops.matmul(transpose(tail), tail)
        identity = ops.eye(columns, dtype=matrix.dtype)
        numerator = ops.concatenate([identity - generator, -2 * tail], axis=-2)
        # X (I + A) = N is solved as (I + A)^T X^T = N^T.
        image = ops.solve(transpose(identity + generator), transpose(numerator))
        return transpose(image), state
