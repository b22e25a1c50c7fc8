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

    With `W^T W + r I = L L^T`, the image `W L^{-T}` has singular values of `s /
    sqrt(s^2 + r)`, which are below one for every ridge `r`, and close to one if
    `s` is much larger than `sqrt(r)`. A second pass improves the small ones:
    after it, singular values that are a thousandth of the largest are one up to
    1e-6. Singular values of zero stay zero, or become arbitrary values below
    one by rounding: if the columns of the matrix are linearly dependent, the
    result is not orthogonal. `Cayley`, `Exponential` and `QR` give an
    orthogonal result for any matrix.

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
