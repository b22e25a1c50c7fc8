"""Multiplication by a fixed factor."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lip.layers.lipschitz_layer import LipschitzLayer
from keras_lip.program.builder import Wire
from keras_lip.program.nodes.affine import Affine
from keras_lip.proofs.norms import NORMS
from keras_lip.read_weight import read_weight
from keras_lip.types import Config
from keras_lip.types import Shape
from keras_lip.types import Tensor
from keras_lip.validation import check_number

_LARGEST = float(np.finfo("float32").max)


@keras.saving.register_keras_serializable(package="keras_lip")
class LipschitzScale(LipschitzLayer):
    """Multiplies its input by a fixed factor.

    The Lipschitz constant is exactly `|factor|` in every norm, where `factor`
    is rounded to the layer's compute dtype. The layer makes a 1-Lipschitz model
    `factor`-Lipschitz, and certificates take this into account.

    Args:
        factor: Float. Any finite float32 number.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        ValueError: If `factor` is not a finite float32 number.

    Input shape:
        Arbitrary, with a batch axis first.

    Output shape:
        Same as the input.

    Example:

    >>> layer = keras_lip.layers.LipschitzScale(0.5)
    >>> outputs = layer(np.array([[3.0, 1.0]]))
    >>> keras.ops.convert_to_numpy(outputs).tolist()
    [[1.5, 0.5]]
    >>> layer.lipschitz_bound()
    0.5

    Reference:

    - [Tsuzuku et al., 2018](https://arxiv.org/abs/1802.04034), section 5.1
    """

    norms = NORMS
    guarantee = "constant is its factor"

    def __init__(self, factor: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor = check_number("factor", factor, -_LARGEST, _LARGEST)

    def call(self, inputs: Tensor) -> Tensor:
        return inputs * self._rounded_factor()

    def _rounded_factor(self) -> Tensor:
        return ops.convert_to_tensor(self.factor, dtype=self.compute_dtype)

    def _estimate_bound(self, training: bool) -> Any:
        return abs(self.factor)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def freeze(self, *inputs: Wire) -> Wire:
        factor = read_weight(self._rounded_factor())
        return inputs[0].then(Affine(factor, np.zeros(())))

    def get_config(self) -> Config:
        return {**super().get_config(), "factor": self.factor}
