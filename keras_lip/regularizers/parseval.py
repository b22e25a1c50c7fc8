"""The Parseval regularizer: a penalty on non-orthogonal kernels."""

import keras
from keras import ops

from keras_lip.linalg import transpose
from keras_lip.types import Config
from keras_lip.types import Tensor
from keras_lip.validation import check_number


@keras.saving.register_keras_serializable(package="keras_lip")
class Parseval(keras.regularizers.Regularizer):
    """Penalizes the distance of a kernel's Gram matrix from the identity.

    The penalty is `factor / 2 * |W^T W - I|_F^2`, which is `factor / 2 * sum_i
    (s_i^2 - 1)^2` over the singular values `s_i` of `W`, so it pushes all
    singular values towards one. For a kernel with fewer rows than columns, `W
    W^T` replaces `W^T W`, because only the smaller Gram matrix can be the
    identity. A convolution kernel is reshaped to a matrix with one column for
    each filter.

    The regularizer gives no guarantee: the singular values of a trained kernel
    are only close to one, and may exceed one. In addition, the singular values
    of a convolution may be larger than those of its reshaped kernel, by up to
    the square root of the number of taps. For a guarantee use the layers of
    `keras_lip.layers`.

    Args:
        factor: Non-negative float. Strength of the penalty.

    Call arguments:
        x: Kernel of shape `(..., outputs)`, with at least two axes.

    Raises:
        ValueError: If `factor` is negative or not finite, or the weight has
            fewer than two axes.

    Example:

    >>> regularizer = keras_lip.regularizers.Parseval(0.5)
    >>> float(regularizer(2.0 * np.eye(2)))  # 0.25 * (9 + 9)
    4.5
    >>> layer = keras.layers.Dense(3, kernel_regularizer=regularizer)

    Reference:

    - [Cisse et al., 2017](https://arxiv.org/abs/1704.08847), who follow
      its gradient after each step of training
    """

    def __init__(self, factor: float) -> None:
        self.factor = check_number("factor", factor, 0.0)

    def __call__(self, x: Tensor) -> Tensor:
        x = ops.convert_to_tensor(x)
        x = ops.cast(x, keras.backend.result_type(x.dtype, float))
        if len(x.shape) < 2:
            raise ValueError(
                "`Parseval` regularizes kernels of at least two axes. "
                f"Received: a weight of shape {tuple(x.shape)}. Pass it as "
                "`kernel_regularizer`, not as `bias_regularizer`."
            )
        # In Keras kernels the last axis is the output axis.
        matrix = ops.reshape(x, (-1, x.shape[-1]))
        rows, columns = matrix.shape
        if rows < columns:
            matrix = transpose(matrix)
        gram = ops.matmul(transpose(matrix), matrix)
        excess = gram - ops.eye(min(rows, columns), dtype=gram.dtype)
        return 0.5 * self.factor * ops.sum(ops.square(excess))

    def get_config(self) -> Config:
        return {"factor": self.factor}
