"""Subtraction of the mean over the channels."""

from typing import Any

import keras
from keras import ops

from keras_lip.layers.activations.channel_groups import check_channels
from keras_lip.layers.lipschitz_layer import LipschitzLayer
from keras_lip.program.builder import Wire
from keras_lip.program.freezing.reading import sample_axis
from keras_lip.program.nodes.axis_linear import Center
from keras_lip.types import Config
from keras_lip.types import Shape
from keras_lip.types import Tensor
from keras_lip.validation import check_integer


@keras.saving.register_keras_serializable(package="keras_lip")
class LayerCentering(LipschitzLayer):
    """Subtracts the mean over the channels from each sample.

    The layer is an orthogonal projection onto the vectors whose channels sum to
    zero, so it is 1-Lipschitz in the l2 norm. It is layer normalization without
    the division by the standard deviation, which has no Lipschitz constant.

    Args:
        axis: Integer. The channel axis. Defaults to `-1`, the last axis.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        ValueError: If `axis` is not an axis of the input, is the batch axis, or
            has no known size.

    Input shape:
        Arbitrary, with a batch axis first.

    Output shape:
        Same as the input.

    Example:

    >>> layer = keras_lip.layers.LayerCentering()
    >>> outputs = layer(np.array([[3.0, 1.0, 2.0]]))
    >>> keras.ops.convert_to_numpy(outputs).tolist()
    [[1.0, -1.0, 0.0]]

    Reference:

    - [Ba et al., 2016](https://arxiv.org/abs/1607.06450), section 3, for layer
      normalization
    """

    def __init__(self, axis: int = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = check_integer("axis", axis)

    def build(self, input_shape: Shape) -> None:
        check_channels(self, input_shape, self.axis)

    def call(self, inputs: Tensor) -> Tensor:
        return inputs - ops.mean(inputs, axis=self.axis, keepdims=True)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def freeze(self, *inputs: Wire) -> Wire:
        (x,) = inputs
        return x.then(Center(sample_axis(x, self.axis)))

    def get_config(self) -> Config:
        return {**super().get_config(), "axis": self.axis}
