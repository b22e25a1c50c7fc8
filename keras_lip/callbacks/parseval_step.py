"""Moves the singular values of kernels towards one after each step."""

from typing import Any

import keras
from keras import ops

from keras_lip.model_layers import named_layers
from keras_lip.types import Tensor
from keras_lip.validation import check_number

# By exact class: a subclass may use its kernel in another way.
_LAYERS = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.Dense,
)


class ParsevalStep(keras.callbacks.Callback):
    """Moves kernels towards orthogonality after each training step.

    Each kernel `W` of a `Dense`, `Conv1D`, `Conv2D` or `Conv3D` of Keras
    becomes `(1 + beta) W - beta W W^T W`. This is a step of gradient descent on
    `beta / 4 |W^T W - I|_F^2`. It maps each singular value `s` to `(1 + beta) s
    - beta s^3` and keeps the singular vectors. The value one is fixed, values
    between zero and one increase and stay below one, and larger values decrease
    if they are below `sqrt((2 + beta) / beta)`. Beyond this limit, which is
    about 82 for the default `beta`, they diverge. With `beta = 0.5` the step is
    one iteration of Björck. A convolution kernel is reshaped to a matrix with
    one column for each filter.

    The callback gives no guarantee: an update of the optimizer can move a
    singular value away from one by more than the step moves it back, and the
    norm of a convolution may exceed the norm of its reshaped kernel by up to
    the square root of the number of taps. `keras_lip.bounds.lipschitz_bound`
    measures the trained kernels. For a guarantee use the layers of
    `keras_lip.layers`, which the callback does not change. It does not change
    frozen layers either.

    If `steps_per_execution` of the model is `n`, the kernels are moved after
    every `n` steps.

    Args:
        beta: Float in (0, 0.5]. Length of the step. Defaults to `0.0003`, a
            common value.

    Raises:
        ValueError: If `beta` is out of range or, in training, if the model has
            none of these layers.

    Example:

    >>> callback = keras_lip.callbacks.ParsevalStep(beta=0.01)

    Reference:

    - [Cisse et al., 2017](https://arxiv.org/abs/1704.08847), who apply it to a
      random sample of the rows
    - [Anil et al., 2019](https://arxiv.org/abs/1811.05381), who compare it with
      the iteration of Björck
    """

    def __init__(self, beta: float = 0.0003) -> None:
        super().__init__()
        self.beta = check_number("beta", beta, 0, 0.5, open_low=True)

    def on_train_begin(self, logs: Any = None) -> None:
        if not self._find_layers(trainable_only=False):
            names = ", ".join(f"`{layer.__name__}`" for layer in _LAYERS)
            raise ValueError(
                f"Model '{self.model.name}' has no layer that `ParsevalStep` "
                f"changes: none of {names}. Add one, or remove the callback."
            )

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if hasattr(self.model, "jax_state_sync"):
            # On JAX, training keeps the weights outside the model. They are
            # loaded here, and the changed ones are stored back.
            self.model.jax_state_sync()
        for layer in self._find_layers():
            layer.kernel.assign(_step(layer.kernel, self.beta))

    def _find_layers(self, trainable_only: bool = True) -> list[Any]:
        return [
            layer
            for _, layer in named_layers(self.model, trainable_only)
            if type(layer) in _LAYERS
        ]


def _step(kernel: Any, beta: float) -> Tensor:
    """Returns `(1 + beta) W - beta W W^T W`."""
    kernel = ops.convert_to_tensor(kernel)
    matrix = ops.reshape(kernel, (-1, kernel.shape[-1]))
    rows, columns = matrix.shape
    transposed = ops.transpose(matrix)
    if rows < columns:
        cubed = ops.matmul(ops.matmul(matrix, transposed), matrix)
    else:
        cubed = ops.matmul(matrix, ops.matmul(transposed, matrix))
    return ops.reshape((1 + beta) * matrix - beta * cubed, kernel.shape)
