"""Sorting of all channels."""

from typing import Any

import keras
from keras import ops

from keras_lip.layers.activations.channel_groups import check_channels
from keras_lip.layers.lipschitz_layer import LipschitzLayer
from keras_lip.program.builder import Wire
from keras_lip.program.freezing.reading import sample_axis
from keras_lip.program.nodes.sorting import Sort
from keras_lip.proofs.norms import NORMS
from keras_lip.types import Config
from keras_lip.types import Shape
from keras_lip.types import Tensor
from keras_lip.validation import check_integer


@keras.saving.register_keras_serializable(package="keras_lip")
class FullSort(LipschitzLayer):
    """Sorts all channels in ascending order.

    The layer permutes its input, so it is 1-Lipschitz in every norm and
    preserves the norm of the gradient. It is `GroupSort` with a single group.

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

    >>> layer = keras_lip.layers.FullSort()
    >>> outputs = layer(np.array([[3.0, 1.0, 2.0, 4.0]]))
    >>> keras.ops.convert_to_numpy(outputs).tolist()
    [[1.0, 2.0, 3.0, 4.0]]

    Reference:

    - [Anil et al., 2019](https://arxiv.org/abs/1811.05381), section 4.1
    """

    norms = NORMS
    guarantee = "gradient norm preserving"

    def __init__(self, axis: int = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = check_integer("axis", axis)

    def build(self, input_shape: Shape) -> None:
        check_channels(self, input_shape, self.axis)

    def call(self, inputs: Tensor) -> Tensor:
        return ops.sort(inputs, axis=self.axis)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def freeze(self, *inputs: Wire) -> Wire:
        (x,) = inputs
        axis = sample_axis(x, self.axis)
        size = 1 if x.shape is None else x.shape[axis]
        return x.then(Sort(axis, size or 1))

    def get_config(self) -> Config:
        return {**super().get_config(), "axis": self.axis}
