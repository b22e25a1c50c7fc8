"""Concatenation, scaled to be non-expansive."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lip.layers.lipschitz_layer import LipschitzLayer
from keras_lip.layers.merging.input_shapes import check_input_shapes
from keras_lip.program.builder import Wire
from keras_lip.program.freezing.stock.merges import concatenate
from keras_lip.program.nodes.affine import Affine
from keras_lip.proofs.norms import NORMS
from keras_lip.read_weight import read_weight
from keras_lip.types import Config
from keras_lip.types import Shape
from keras_lip.types import Tensor
from keras_lip.validation import check_integer


@keras.saving.register_keras_serializable(package="keras_lip")
class LipschitzConcatenate(LipschitzLayer):
    """Concatenates `l` inputs and divides them by `sqrt(l)`.

    If each input is a 1-Lipschitz function of the model's input, so is the
    output, in the l2 norm. `lipschitz_bound` is the bound of the output in this
    case: `sqrt(l)` times the rounded factor. In a model, inputs with bounds
    `L_i` give an output with the bound `sqrt(sum(L_i ** 2) / l)`.

    Args:
        axis: Integer. The axis to concatenate on. Defaults to `-1`, the last
            axis.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        ValueError: If `axis` is not an axis of the inputs or is the batch axis,
            there are fewer than two inputs, or their shapes differ on another
            axis.

    Input shape:
        A list of at least two shapes, equal except on `axis`.

    Output shape:
        Same as the inputs, with the sum of their sizes on `axis`.

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
        self.axis = check_integer("axis", axis)

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

    def freeze(self, *inputs: Wire) -> Wire:
        factor = read_weight(self._factor())
        joined = concatenate(self, self.axis, inputs)
        return joined.then(Affine(factor, np.zeros(())))

    def get_config(self) -> Config:
        return {**super().get_config(), "axis": self.axis}
