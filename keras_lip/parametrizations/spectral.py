"""Division by an estimate of the spectral norm."""

from typing import ClassVar

import keras
from keras import ops

from keras_lip.linalg import power_iteration
from keras_lip.linalg import scale_to_one
from keras_lip.linalg import start_vector
from keras_lip.operators import DenseOperator
from keras_lip.parametrizations.parametrization import Parametrization
from keras_lip.types import Config
from keras_lip.types import State
from keras_lip.types import Tensor
from keras_lip.validation import check_positive_integer


@keras.saving.register_keras_serializable(package="keras_lip")
class Spectral(Parametrization):
    """Divides a matrix by an estimate of its spectral norm.

    The power method starts from the last vector of the previous training step,
    which is stored as state. Its estimate is at most the norm, so the norm of
    the image may exceed one by the error of the estimate. A layer's
    `lipschitz_bound` is computed from the image and includes this error.

    Args:
        training_iterations: Positive integer. Number of iterations of the power
            method in a training step. Defaults to `1`.
        inference_iterations: Positive integer. Number of iterations at
            inference. They start from the stored vector and do not change it.
            Defaults to `100`.

    Raises:
        ValueError: If a number of iterations is not a positive integer, or if
            the matrix has more than two axes.

    Example:

    >>> layer = keras_lip.layers.LipschitzDense(
    ...     64,
    ...     parametrization=keras_lip.parametrizations.Spectral(
    ...         training_iterations=3
    ...     ),
    ... )

    Reference:

    - [Miyato et al., 2018](https://arxiv.org/abs/1802.05957), Algorithm 1
    """

    reach: ClassVar[str] = "matrices of spectral norm one"

    def __init__(
        self, training_iterations: int = 1, inference_iterations: int = 100
    ) -> None:
        self.training_iterations = check_positive_integer(
            "training_iterations", training_iterations
        )
        self.inference_iterations = check_positive_integer(
            "inference_iterations", inference_iterations
        )

    def initial_state(self, shape: tuple[int, ...]) -> State:
        if len(shape) != 2:
            raise ValueError(
                "`Spectral` takes one matrix of shape `(rows, columns)`. "
                f"Received: shape={tuple(shape)}. Use `AOL` for a batch."
            )
        return {"power_iteration_vector": start_vector((1, shape[0]))}

    def constrain(
        self, matrix: Tensor, state: State, training: bool
    ) -> tuple[Tensor, State]:
        state = state or self.initial_state(matrix.shape)
        matrix = scale_to_one(matrix, axis=None)
        norm, vector = power_iteration(
            DenseOperator(),
            matrix,
            ops.convert_to_tensor(state["power_iteration_vector"]),
            self.training_iterations if training else self.inference_iterations,
        )
        # The norm is at least the largest entry, which is one unless the matrix
        # is zero.
        image = ops.divide(matrix, ops.maximum(norm, 1e-12))
        return image, {"power_iteration_vector": vector}

    def get_config(self) -> Config:
        return {
            "training_iterations": self.training_iterations,
            "inference_iterations": self.inference_iterations,
        }
