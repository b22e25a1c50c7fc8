"""Convex combination of branches, with weights that are learnt."""

from collections.abc import Sequence

import keras
from keras import ops

from keras_lip.bounds.norms import NORMS
from keras_lip.bounds.propagate_bound import propagate_bound
from keras_lip.bounds.read_kernel import read_kernel
from keras_lip.bounds.rounding import add_up
from keras_lip.bounds.rounding import multiply_up
from keras_lip.bounds.rules.broadcasting import check_same_shapes
from keras_lip.layers.lipschitz_layer import LipschitzLayer
from keras_lip.layers.merging.input_shapes import check_input_shapes
from keras_lip.types import Array
from keras_lip.types import Shape
from keras_lip.types import Tensor


@keras.saving.register_keras_serializable(package="keras_lip")
class ConvexAdd(LipschitzLayer):
    """Adds its inputs up with weights that sum to one.

    The layer computes `sum(w_i * x_i)` with `w = softmax(logits)`, where the
    logits are trained and start at zero, so that it starts as an average.

    If each input is a 1-Lipschitz function of the model's input, so is the
    output, in every norm: `lipschitz_bound` is that of the output under this
    condition, the sum of the weights that run, which rounding may leave a
    little off one. In a model, inputs of the bounds `L_i` give an output of the
    bound `sum(w_i * L_i)`.

    Args:
        **kwargs: Passed to `keras.layers.Layer`.

    Raises:
        ValueError: If there are less than two inputs or their shapes differ.

    Input shape:
        A list of at least two shapes, all the same.

    Output shape:
        That of each input.

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

    def build(self, input_shape: Sequence[Shape]) -> None:
        check_input_shapes(self, input_shape)
        self.logits = self.add_weight(
            name="logits",
            shape=(len(input_shape),),
            initializer="zeros",
            autocast=False,
        )

    def compute_weights(self) -> Tensor:
        """Returns the weights of the inputs, which sum to one."""
        return ops.softmax(ops.convert_to_tensor(self.logits))

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        weights = ops.cast(self.compute_weights(), self.compute_dtype)
        outputs = inputs[0] * weights[0]
        for i in range(1, self.logits.shape[0]):
            outputs = outputs + inputs[i] * weights[i]
        return outputs

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> Shape:
        return input_shape[0]

    def lipschitz_bound(self) -> float:
        return add_up(*map(float, self._running_weights()))

    def _running_weights(self) -> Array:
        return read_kernel(self, self.compute_weights())

    def to_keras_layer(self, audited: bool = True) -> keras.Model:
        shapes = self.get_build_config()["input_shape"]
        inputs = [
            keras.Input(shape[1:], dtype=self.compute_dtype) for shape in shapes
        ]
        terms = [
            keras.layers.Rescaling(float(weight), dtype=self.dtype_policy)(x)
            for weight, x in zip(self._running_weights(), inputs, strict=True)
        ]
        outputs = keras.layers.Add(dtype=self.dtype_policy)(terms)
        return keras.Model(inputs, outputs, name=self.name)


@propagate_bound.register(ConvexAdd, norms=NORMS)
def _(layer: ConvexAdd, inputs: list[float]) -> float:
    # What is built on unknown sizes might yet broadcast.
    check_same_shapes(layer, inputs)
    weights = map(float, layer._running_weights())
    return add_up(*map(multiply_up, weights, inputs))
