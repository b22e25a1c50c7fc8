"""Almost-orthogonal rescaling."""

import keras

from keras_lip.linalg import rescale_columns
from keras_lip.parametrizations.parametrization import Parametrization
from keras_lip.types import State
from keras_lip.types import Tensor


@keras.saving.register_keras_serializable(package="keras_lip")
class AOL(Parametrization):
    """Rescales each column so that the spectral norm is at most one.

    Column `i` of the matrix `W` is divided by `sqrt(sum_j |W^T W|_ij)`. This
    needs one matrix product, no iteration and no state, and is non-expansive by
    construction. Orthogonal columns become orthonormal, and training with a
    margin loss tends to make columns orthogonal.

    Reference:

    - [Prach & Lampert, 2022](https://arxiv.org/abs/2208.03160), Theorem 1
    """

    def constrain(
        self, matrix: Tensor, state: State, training: bool
    ) -> tuple[Tensor, State]:
        return rescale_columns(matrix), state
