"""Orthogonalization by a QR decomposition."""

from typing import ClassVar

import keras
from keras import ops

from keras_lip.linalg import scale_to_one
from keras_lip.parametrizations.parametrization import Parametrization
from keras_lip.types import State
from keras_lip.types import Tensor


@keras.saving.register_keras_serializable(package="keras_lip")
class QR(Parametrization):
    """Orthogonalizes a matrix by Householder's QR decomposition.

    The image is the factor `Q`, with signs such that the diagonal of `R` is
    positive. An orthogonal matrix is therefore its own image. `Q` is orthogonal
    to machine precision for any condition number.

    Before the decomposition, the matrix is scaled to entries of at most one,
    and `1e-6` is added to its diagonal. This keeps the gradient finite if
    columns are linearly dependent.

    Reference:

    - [Householder, 1958](https://doi.org/10.1145/320941.320947)
    """

    orthogonal: ClassVar[bool] = True

    def constrain(
        self, matrix: Tensor, state: State, training: bool
    ) -> tuple[Tensor, State]:
        matrix = scale_to_one(matrix, axis=(-2, -1))
        matrix = matrix + 1e-6 * ops.eye(*matrix.shape[-2:], dtype=matrix.dtype)
        orthogonal, triangular = ops.qr(matrix)
        diagonal = ops.diagonal(triangular, axis1=-2, axis2=-1)
        signs = ops.where(diagonal < 0, -ops.ones_like(diagonal), 1.0)
        signs = ops.stop_gradient(ops.expand_dims(signs, axis=-2))
        return ops.multiply(orthogonal, signs), state
