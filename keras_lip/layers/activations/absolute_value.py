"""Absolute value, elementwise."""

from typing import Any

import keras
from keras import ops

from keras_lip.layers.lipschitz_layer import LipschitzLayer
from keras_lip.program.builder import Wire
from keras_lip.program.nodes.elementwise import Elementwise
from keras_lip.proofs.norms import NORMS
from keras_lip.types import Shape
from keras_lip.types import Tensor


@keras.saving.register_keras_serializable(package="keras_lip")
class AbsoluteValue(LipschitzLayer):
    """Replaces each number by its absolute value.

    The slopes are 1 and -1, so the layer is 1-Lipschitz in every l-p norm. It
    preserves the norm of the gradient if no input is zero.

    Args:
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Input shape:
        Arbitrary, with a batch axis first.

    Output shape:
        Same as the input.

    Example:

    >>> layer = keras_lip.layers.AbsoluteValue()
    >>> outputs = layer(np.array([[3.0, -1.0]]))
    >>> keras.ops.convert_to_numpy(outputs).tolist()
    [[3.0, 1.0]]

    Reference:

    - [Anil et al., 2019](https://arxiv.org/abs/1811.05381), section 4.1
    """

    norms = NORMS
    guarantee = "gradient norm preserving"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def call(self, inputs: Tensor) -> Tensor:
        return ops.absolute(inputs)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def freeze(self, *inputs: Wire) -> Wire:
        return inputs[0].then(Elementwise("absolute"))
