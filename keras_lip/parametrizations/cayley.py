"""The Cayley transform."""

import math
from typing import ClassVar

import keras
import numpy as np
from keras import ops

from keras_lip.linalg import accretive_solve
from keras_lip.linalg import generator_factor
from keras_lip.linalg import transpose
from keras_lip.parametrizations.parametrization import Parametrization
from keras_lip.types import Array
from keras_lip.types import State
from keras_lip.types import Tensor


@keras.saving.register_keras_serializable(package="keras_lip")
class Cayley(Parametrization):
    """Orthogonalizes a matrix by the Cayley transform of its skew part.

    Let `U` be the square head of the matrix, `V` its tail, and `A = U - U^T +
    V^T V`. The image stacks `(I - A) (I + A)^{-1}` on top of `-2 V (I +
    A)^{-1}`. It needs one linear solve and no iteration.

    The image of a square matrix is a rotation: its determinant is one, at the
    start, in every step of training, and for any weights (the group `SO(n)`).
    Orthogonal matrices with the determinant minus one, such as the reflection
    of a single axis, are not reached, and rotations by half a turn only in the
    limit. Nothing is lost if `MaxMin` or `FullSort` follows: exchanging the two
    columns of a pair that it sorts changes the sign of the determinant, but no
    output. `QR`, `Bjorck` and `Cholesky` keep the sign of the determinant of
    the free matrix.

    The image is orthogonal for every `U` and `V`. If the absolute values in a
    row of `U - U^T` or `V^T V` sum to more than 1024, `U` or `V` is scaled down
    to this limit, because larger matrices would not give an orthogonal image in
    `float32`.

    If a training step has fewer samples than the shorter side of the matrix, it
    solves for the outputs directly and does not compute the image.

    Reference:

    - [Trockman & Kolter, 2021](https://arxiv.org/abs/2104.07167), section 3.1
      and appendix A for matrices that are not square.
    """

    orthogonal: ClassVar[bool] = True
    reach: ClassVar[str] = (
        "orthogonal matrices whose square head has no eigenvalue near -1; "
        "multiplying a column by -1 may help"
    )

    def invert(self, matrix: Array) -> Array:
        # Let `H` be the head of the image. Then `(I + A)^{-1} = (I + H) / 2`,
        # and the skew part of `A` is `U - U^T`. If `I + H` is not invertible,
        # no matrix has this image, and the caller detects that the
        # pseudoinverse gives another image.
        columns = matrix.shape[1]
        inverse = np.linalg.pinv(np.eye(columns) + matrix[:columns])
        head = (inverse - inverse.T) / 2
        return np.concatenate([head, -matrix[columns:] @ inverse])

    def constrain(
        self, matrix: Tensor, state: State, training: bool
    ) -> tuple[Tensor, State]:
        generator, tail = _split(matrix)
        identity = ops.eye(matrix.shape[-1], dtype=matrix.dtype)
        numerator = ops.concatenate([identity - generator, -2 * tail], axis=-2)
        # Solves X (I + A) = N as (I + A)^T X^T = N^T.
        image = ops.solve(transpose(identity + generator), transpose(numerator))
        return transpose(image), state

    def multiply(
        self, inputs: Tensor, matrix: Tensor, state: State
    ) -> tuple[Tensor, State]:
        samples = inputs.shape[:-1]
        side = min(matrix.shape)
        if None in samples or math.prod(samples) >= side:
            return super().multiply(inputs, matrix, state)
        matrix = ops.convert_to_tensor(matrix)
        rows, columns = matrix.shape
        flat = ops.reshape(ops.cast(inputs, matrix.dtype), (-1, rows))
        multiply = _multiply if rows >= columns else _multiply_transposed
        outputs = ops.reshape(multiply(flat, matrix), (*samples, columns))
        return ops.cast(outputs, inputs.dtype), state


def _split(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the generator and the tail of a square or tall matrix."""
    rows, columns = matrix.shape[-2:]
    head, tail = matrix[..., :columns, :], matrix[..., columns:, :]
    skew = head - transpose(head)
    skew = skew * generator_factor(skew)
    if rows == columns:
        return skew, tail
    # Squares of entries of at most one cannot overflow.
    largest = ops.amax(ops.abs(tail), axis=(-2, -1), keepdims=True)
    largest = ops.stop_gradient(ops.maximum(largest, 1.0))
    tail = tail / largest
    square = ops.matmul(transpose(tail), tail)
    factor = generator_factor(square, most=ops.square(largest))
    return skew + square * factor, tail * ops.sqrt(factor)


def _multiply(inputs: Tensor, matrix: Tensor) -> Tensor:
    """Multiplies by the image `Q` of a square or tall matrix.

    For inputs `(x, y)`, `(x, y) Q = (2 x - 2 y V) (I + A)^{-1} - x`.
    """
    generator, tail = _split(matrix)
    columns = matrix.shape[-1]
    identity = ops.eye(columns, dtype=matrix.dtype)
    head = inputs[:, :columns]
    doubled = 2 * (head - ops.matmul(inputs[:, columns:], tail))
    return accretive_solve(doubled, identity + generator) - head


def _multiply_transposed(inputs: Tensor, matrix: Tensor) -> Tensor:
    """Multiplies by the image `Q^T` of a wide matrix.

    With `z = x (I + A)^{-T}`, `x Q^T` is `2 z - x` beside `-2 z V^T`.
    """
    generator, tail = _split(transpose(matrix))
    identity = ops.eye(matrix.shape[0], dtype=matrix.dtype)
    solved = accretive_solve(2 * inputs, transpose(identity + generator))
    outputs = [solved - inputs, -ops.matmul(solved, transpose(tail))]
    return ops.concatenate(outputs, axis=-1)
