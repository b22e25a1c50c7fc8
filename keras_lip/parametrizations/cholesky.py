"""Orthogonalization by Cholesky factors."""

from typing import ClassVar

import keras

from keras_lip.linalg import orthonormal_basis
from keras_lip.parametrizations.parametrization import Parametrization
from keras_lip.types import State
from keras_lip.types import Tensor


@keras.saving.register_keras_serializable(package="keras_lip")
class Cholesky(Parametrization):
    """Orthogonalizes a matrix by a Cholesky factor of its Gram matrix, twice.

    With `W^T W + r I = L L^T`, the image `W L^{-T}` has singular values of
    `s / sqrt(s^2 + r)`, which are below one for every ridge `r` and near one
    where `s` is well above `sqrt(r)`. A second pass brings the others there:
    after it, singular values of a thousandth of the largest are one to 1e-6.
    Those of zero stay zero, or whatever rounding makes of them below one: the
    image of a matrix whose columns depend on each other is not orthogonal.
    `Cayley`, `Exponential` and `QR` give an orthogonal image of any matrix.

    Reference:

    - [Hu et al., 2023](https://arxiv.org/abs/2301.12549), section 4 of the
      LiResNet paper's dense layers
    - [Yamamoto et al., 2015](https://doi.org/10.1553/etna_vol44s306) on the
      second pass (CholeskyQR2)
    """

    orthogonal: ClassVar[bool] = True

    def constrain(
        self, matrix: Tensor, state: State, training: bool
    ) -> tuple[Tensor, State]:
        return orthonormal_basis(matrix), state
