"""The base class of kernel parametrizations."""

import abc
from typing import Any
from typing import ClassVar
from typing import Self

import numpy as np
from keras import ops

from keras_lip.linalg import transpose
from keras_lip.types import Array
from keras_lip.types import Config
from keras_lip.types import State
from keras_lip.types import Tensor

# Tolerances of a given matrix's distance from the image of a free matrix, and
# of its Gram matrix from the identity. They are far above float32 rounding.
_TOLERANCE = 1e-4


class Parametrization(abc.ABC):
    """Maps a free matrix to a matrix whose spectral norm is at most one.

    A layer trains the free matrix and multiplies by its image. The bound
    therefore holds before the first step, between steps and after loading, for
    any optimizer. An instance contains hyperparameters but no tensors, so
    several layers may share it. State that must be kept between steps, such as
    the vector of a power iteration, is declared by `initial_state`, and the
    layer stores it in non-trainable weights.

    Subclasses implement `constrain`, and `initial_state` if they have a state.
    They override `multiply` if a product with the image is cheaper than the
    image, and `invert` if a matrix in the range is not its own image.
    """

    orthogonal: ClassVar[bool] = False
    """Whether every singular value of the image is one, not merely at most.

    Of `Bjorck` and `Cholesky` the matrix must have full rank for it.
    """

    reach: ClassVar[str] = "matrices with orthonormal columns or rows"
    """Which matrices `from_matrix` takes, in a few words."""

    def __call__(
        self,
        matrix: Tensor,
        state: State | None = None,
        training: bool = False,
    ) -> tuple[Tensor, State]:
        """Constrains a tall, square or wide matrix.

        Args:
            matrix: Tensor of shape `(..., rows, columns)`, in float32 or
                float64.
            state: The state that `initial_state` declared or an earlier call
                returned.
            training: Boolean. Whether this is a training step, which may use a
                cheaper estimate.

        Returns:
            Tuple of the constrained matrix, of the same shape, and the next
            state.

        Raises:
            ValueError: If the matrix has fewer than two axes or is empty.
        """
        matrix = ops.convert_to_tensor(matrix)
        shape = tuple(matrix.shape)
        if len(shape) < 2 or 0 in shape:
            raise ValueError(
                f"`{type(self).__name__}` takes a matrix of shape `(..., rows, "
                "columns)`, which must not be empty. Received: "
                f"matrix.shape={shape}"
            )
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

    def from_matrix(self, matrix: Any) -> Array:
        """Returns a free matrix whose image is a given matrix.

        Pass it as the `kernel_initializer` of a layer whose kernel should start
        as `matrix`.

        Args:
            matrix: Array of shape `(rows, columns)`, of the kind that `reach`
                describes.

        Returns:
            Float32 array of the shape of the weight,
            `free_shape(matrix.shape)`. Its image is `matrix` up to 1e-4 in each
            entry, usually up to 1e-6.

        Raises:
            ValueError: If `matrix` is not such an array, is not orthogonal
                although the parametrization is, or no free matrix with this
                image is found.
        """
        matrix = _check_matrix(matrix)
        exact = _orthogonal_factor(matrix) if self.orthogonal else matrix
        rows, columns = matrix.shape
        if rows >= columns:
            free = self.invert(exact)
        else:
            free = self.invert(exact.T).T
        free = np.asarray(free, dtype="float32")
        image = ops.convert_to_numpy(self(free)[0])
        error = float(np.max(np.abs(image - matrix)))
        if not error <= _TOLERANCE:
            raise ValueError(
                f"`{type(self).__name__}.from_matrix` takes {self.reach}. "
                f"Received: a matrix of shape {matrix.shape}, which differs "
                f"from the closest image found by {error:.1e}. Pass a matrix "
                "of that kind, or use another parametrization."
            )
        return np.ascontiguousarray(
            free[:, : self.free_shape(matrix.shape)[-1]]
        )

    def free_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the shape of the weight whose image has a given shape.

        Args:
            shape: Shape of the image, of any proportions.

        Returns:
            The given shape, or one with fewer columns. A layer appends columns
            of zeros before it constrains the weight; the parametrization
            ignores them.
        """
        return shape

    def invert(self, matrix: Array) -> Array:
        """Returns a free matrix for an image, if the image is in the range.

        Args:
            matrix: Array with at least as many rows as columns, in float64. Its
                columns are orthonormal if the parametrization is orthogonal.
        """
        return matrix

    def initial_state(self, shape: tuple[int, ...]) -> State:
        """Returns the initial state for a matrix.

        Args:
            shape: Shape of the matrix that `constrain` will receive, which has
                at least as many rows as columns.

        Returns:
            Dict of arrays by name, empty if there is no state.
        """
        return {}

    @abc.abstractmethod
    def constrain(
        self, matrix: Tensor, state: State, training: bool
    ) -> tuple[Tensor, State]:
        """Constrains a matrix with at least as many rows as columns."""

    def __repr__(self) -> str:
        arguments = (f"{k}={v!r}" for k, v in self.get_config().items())
        return f"{type(self).__name__}({', '.join(arguments)})"

    def get_config(self) -> Config:
        """Returns the hyperparameters, ready for `from_config`."""
        return {}

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Creates a parametrization from the output of `get_config`."""
        return cls(**config)


def _check_matrix(matrix: Any) -> Array:
    """Returns a matrix of finite numbers in float64."""
    array = np.asarray(ops.convert_to_numpy(matrix), dtype="float64")
    if array.ndim != 2 or not array.size or not np.isfinite(array).all():
        raise ValueError(
            "`matrix` must be an array of shape `(rows, columns)`, of finite "
            f"numbers. Received: an array of shape {array.shape}"
        )
    return array


def _orthogonal_factor(matrix: Array) -> Array:
    """Returns the closest orthogonal matrix, or raises an error."""
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    error = float(np.max(np.abs(values**2 - 1)))
    if error > _TOLERANCE:
        raise ValueError(
            "`matrix` must have orthonormal columns, or rows if it is wide. "
            f"Received: a matrix of shape {matrix.shape} with singular values "
            f"between {values.min():.6g} and {values.max():.6g}. Orthogonalize "
            "it first, for example with `numpy.linalg.qr`."
        )
    return left @ right
