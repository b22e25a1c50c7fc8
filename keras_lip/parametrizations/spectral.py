"""Division by the spectral norm, as the power method estimates it."""

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

    The power method starts from the vector where the last training step ended,
    which is kept as a state. Its estimate lies below the norm, so that the
    image may exceed one by the error of the estimate; a layer's
    `lipschitz_bound` is measured on the image, and says by how much.

    Args:
        training_iterations: Positive integer. Iterations of the power method in
            a training step. Defaults to `1`.
        inference_iterations: Positive integer. Iterations at inference, from
            the vector of the last training step, which they leave where it is.
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
        # The norm of a matrix is at least its largest entry: one, unless the
        # matrix vanishes.
        image = ops.divide(matrix, ops.maximum(norm, 1e-12))
        return image, {"power_iteration_vector": vector}

    def get_config(self) -> Config:
        return {
            "training_iterations": self.training_iterations,
            "inference_iterations": self.inference_iterations,
        }
