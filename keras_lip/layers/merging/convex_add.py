"""Convex combination of branches, with trainable weights."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_lip.layers.lipschitz_layer import LipschitzLayer
from keras_lip.layers.merging.input_shapes import check_input_shapes
from keras_lip.program.builder import Wire
from keras_lip.program.freezing.checks import check_same_shapes
from keras_lip.program.nodes.merges import Combine
from keras_lip.proofs.norms import NORMS
from keras_lip.read_weight import read_kernel
from keras_lip.types import Shape
from keras_lip.types import Tensor


@keras.saving.register_keras_serializable(package="keras_lip")
class ConvexAdd(LipschitzLayer):
    """Adds its inputs with trainable weights that sum to one.

    The layer computes `sum(w_i * x_i)` with `w = softmax(logits)`, where the
    logits are trainable. They are initialized to zero, so the layer is
    initially an average.

    If each input is a 1-Lipschitz function of the model's input, so is the
    output, in every norm. `lipschitz_bound` is the bound of the output in this
    case: the sum of the rounded weights, which may differ slightly from one. In
    a model, inputs with bounds `L_i` give an output with the bound `sum(w_i *
    L_i)`.

    Args:
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        ValueError: If there are fewer than two inputs or their shapes differ.

    Input shape:
        A list of at least two shapes, all the same.

    Output shape:
        Same as each input.

    Example:

    >>> layer = keras_lip.layers.ConvexAdd()
    >>> outputs = layer([np.array([[2.0, 4.0]]), np.array([[4.0, 0.0]])])
    >>> keras.ops.convert_to_numpy(outputs).tolist()
    [[3.0, 2.0]]

    Reference:

    - [Anil et al., 2019](https://arxiv.org/abs/1811.05381), section 2, for
      compositions of 1-Lipschitz functions
    """

    norms = NORMS

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def build(self, input_shape: Sequence[Shape]) -> None:
        check_input_shapes(self, input_shape)
        self.logits = self.add_weight(
            name="logits",
            shape=(len(input_shape),),
            initializer="zeros",
            autocast=False,
        )

    def _compute_weights(self) -> Tensor:
        """Returns the weights of the inputs, which sum to one."""
        return ops.softmax(ops.convert_to_tensor(self.logits))

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        weights = ops.cast(self._compute_weights(), self.compute_dtype)
        outputs = inputs[0] * weights[0]
        for i in range(1, self.logits.shape[0]):
            outputs = outputs + inputs[i] * weights[i]
        return outputs

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> Shape:
        return input_shape[0]

    def freeze(self, *inputs: Wire) -> Wire:
        # If sizes were unknown in `build`, inputs might still broadcast.
        check_same_shapes(self, inputs)
        weights = read_kernel(self, self._compute_weights())
        return inputs[0].then(Combine(tuple(map(float, weights))), *inputs[1:])
