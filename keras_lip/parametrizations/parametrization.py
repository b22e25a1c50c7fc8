"""The contract every kernel parametrization keeps."""

import abc
from typing import ClassVar
from typing import Self

from keras import ops

from keras_lip.linalg import transpose
from keras_lip.types import Config
from keras_lip.types import State
from keras_lip.types import Tensor


class Parametrization(abc.ABC):
    """Maps a free matrix to one whose spectral norm is at most one.

    A layer trains the free matrix and multiplies by its image. The bound
    therefore holds before the first step, between steps and after loading,
    whatever the optimizer. An instance holds hyperparameters and no tensor, so
    many layers may share it. What must be remembered from step to step, such as
    the vector of a power iteration, is declared by `initial_state` and kept by
    the layer in non-trainable weights.

    Subclasses implement `constrain` and, if they keep a state,
    `initial_state`; where a product with the image costs less than the image
    itself, also `multiply`.
    """

    orthogonal: ClassVar[bool] = False
    """Whether every singular value of the image is one, not merely at most."""

    def __call__(
        self,
        matrix: Tensor,
        state: State | None = None,
        training: bool = False,
    ) -> tuple[Tensor, State]:
        """Constrains a matrix of any proportions.

        Args:
            matrix: Tensor of shape `(..., rows, columns)`, in float32 or
                float64.
            state: The state that `initial_state` declared or an earlier call
                returned.
            training: Boolean. Whether this is a training step, for which an
                estimate may be good enough.

        Returns:
            Tuple of the constrained matrix, of the same shape, and the next
            state.
        """
        matrix = ops.convert_to_tensor(matrix)
        state = {} if state is None else state
        rows, columns = matrix.shape[-2:]
        if rows >= columns:
            return self.constrain(matrix, state, training)
        image, state = self.constrain(transpose(matrix), state, training)
        return transpose(image), state

    def multiply(
        self, inputs: Tensor, matrix: Tensor, state: State
    ) -> tuple[Tensor, State]:
        """Multiplies by the image of a matrix, in a training step.

        Args:
            inputs: Tensor of shape `(..., rows)`, of any floating-point dtype.
            matrix: Tensor of shape `(rows, columns)`.
            state: As in a call.

        Returns:
            Tuple of a tensor of shape `(..., columns)` and the next state.
        """
        image, state = self(matrix, state, training=True)
        return ops.matmul(inputs, ops.cast(image, inputs.dtype)), state

    def initial_state(self, shape: tuple[int, ...]) -> State:
        """Declares the state to keep for a matrix.

        Args:
            shape: Shape of the matrix that `constrain` will receive, which has
                at least as many rows as columns.

        Returns:
            Dict of arrays by name; empty if there is nothing to remember.
        """
        return {}

    @abc.abstractmethod
    def constrain(
        self, matrix: Tensor, state: State, training: bool
    ) -> tuple[Tensor, State]:
        """Constrains a matrix with at least as many rows as columns."""

    def get_config(self) -> Config:
        """Returns the hyperparameters, ready for `from_config`."""
        return {}

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Rebuilds a parametrization from `get_config`."""
        return cls(**config)
