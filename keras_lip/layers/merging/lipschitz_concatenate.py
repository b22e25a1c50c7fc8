"""Concatenation, scaled to be non-expansive."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_lip.bounds.norms import NORMS
from keras_lip.bounds.propagate_bound import propagate_bound
from keras_lip.bounds.read_kernel import read_weight
from keras_lip.bounds.rounding import hypot_up
from keras_lip.bounds.rounding import multiply_up
from keras_lip.layers.lipschitz_layer import LipschitzLayer
from keras_lip.layers.merging.input_shapes import check_input_shapes
from keras_lip.types import Config
from keras_lip.types import Shape
from keras_lip.types import Tensor


@keras.saving.register_keras_serializable(package="keras_lip")
class LipschitzConcatenate(LipschitzLayer):
    """Concatenates `l` inputs and divides them by `sqrt(l)`.

    If each input is a 1-Lipschitz function of the model's input, so is the
    output, in the l2 norm: `lipschitz_bound` is that of the output under this
    condition, `sqrt(l)` times the factor that runs. In a model, inputs of the
    bounds `L_i` give an output of the bound `sqrt(sum(L_i ** 2) / l)`.

    Args:
        axis: Integer. The axis to concatenate on. Defaults to the last.
        **kwargs: Passed to `keras.layers.Layer`.

    Raises:
        ValueError: If `axis` is not an axis of the inputs or is the batch axis,
            there are less than two inputs, or their shapes differ on another
            axis.

    Input shape:
        A list of at least two shapes, the same but on `axis`.

    Output shape:
        That of the inputs, with the sum of their sizes on `axis`.

    Example:

    >>> layer = keras_lip.layers.LipschitzConcatenate()
    >>> x = np.array([[2.0]])
    >>> outputs = layer([x, x, x, x])
    >>> keras.ops.convert_to_numpy(outputs).tolist()
    [[1.0, 1.0, 1.0, 1.0]]

    Reference:

    - [Szegedy et al., 2013](https://arxiv.org/abs/1312.6199), section 4.3, for
      bounds of layers
    """

    norms = NORMS

    def __init__(self, axis: int = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = axis

    def build(self, input_shape: Sequence[Shape]) -> None:
        check_input_shapes(self, input_shape, self.axis)
        self.num_inputs = len(input_shape)

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        return ops.concatenate(inputs, axis=self.axis) * self._factor()

    def _factor(self) -> Tensor:
        return ops.convert_to_tensor(
            1 / math.sqrt(self.num_inputs), dtype=self.compute_dtype
        )

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> Shape:
        sizes = [shape[self.axis] for shape in input_shape]
        known = [size for size in sizes if size is not None]
        shape = list(input_shape[0])
        shape[self.axis] = sum(known) if len(known) == len(sizes) else None
        return tuple(shape)

    def lipschitz_bound(self) -> float:
        return _bound_concatenation(self, [1.0] * self.num_inputs)

    def to_keras_layer(self, audited: bool = True) -> keras.Model:
        shapes = self.get_build_config()["input_shape"]
        inputs = [
            keras.Input(shape[1:], dtype=self.compute_dtype) for shape in shapes
        ]
        concatenate = keras.layers.Concatenate(
            axis=self.axis, dtype=self.dtype_policy
        )
        scale = keras.layers.Rescaling(
            float(read_weight(self._factor())), dtype=self.dtype_policy
        )
        outputs = scale(concatenate(inputs))
        return keras.Model(inputs, outputs, name=self.name)

    def get_config(self) -> Config:
        return {**super().get_config(), "axis": self.axis}


@propagate_bound.register(LipschitzConcatenate)
def _bound_concatenation(
    layer: LipschitzConcatenate, inputs: list[float]
) -> float:
    factor = float(read_weight(layer._factor()))
    return multiply_up(factor, hypot_up(*inputs))


@propagate_bound.register(LipschitzConcatenate, norms=("linf",))
def _bound_largest(layer: LipschitzConcatenate, inputs: list[float]) -> float:
    factor = float(read_weight(layer._factor()))
    return multiply_up(factor, max(inputs))
