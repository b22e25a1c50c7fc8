"""Maximum and minimum of pairs of channels."""

from typing import Any

import keras

from keras_lip.layers.activations.channel_groups import check_groups
from keras_lip.layers.activations.sort_pairs import sort_pairs
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
class MaxMin(LipschitzLayer):
    """Replaces each pair of neighbouring channels by its maximum and minimum.

    The channels `2 i` and `2 i + 1` become their `max` and `min`, so the number
    of channels does not change. The layer permutes its input: it is 1-Lipschitz
    in every norm and preserves the norm of the gradient. It is `GroupSort(2)`
    in descending order.

    Args:
        axis: Integer. The channel axis. Defaults to `-1`, the last axis.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        ValueError: If the number of channels is odd.

    Input shape:
        Arbitrary, with a batch axis first.

    Output shape:
        Same as the input.

    Example:

    >>> layer = keras_lip.layers.MaxMin()
    >>> outputs = layer(np.array([[3.0, 1.0, 2.0, 4.0]]))
    >>> keras.ops.convert_to_numpy(outputs).tolist()
    [[3.0, 1.0, 4.0, 2.0]]

    Reference:

    - [Anil et al., 2019](https://arxiv.org/abs/1811.05381), section 4.1
    """

    norms = NORMS
    guarantee = "gradient norm preserving"

    def __init__(self, axis: int = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = check_integer("axis", axis)

    def build(self, input_shape: Shape) -> None:
        check_groups(self, input_shape, self.axis, group_size=2)

    def call(self, inputs: Tensor) -> Tensor:
        return sort_pairs(inputs, self.axis, descending=True)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        # The same instance may be called on inputs of several shapes.
        check_groups(self, input_shape, self.axis, group_size=2)
        return input_shape

    def freeze(self, *inputs: Wire) -> Wire:
        (x,) = inputs
        return x.then(Sort(sample_axis(x, self.axis), 2, descending=True))

    def get_config(self) -> Config:
        return {**super().get_config(), "axis": self.axis}
