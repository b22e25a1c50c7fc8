"""The maximum of pairs of channels."""

from typing import Any

import keras
from keras import ops

from keras_lip.layers.activations.channel_groups import check_groups
from keras_lip.layers.lipschitz_layer import LipschitzLayer
from keras_lip.program.builder import Wire
from keras_lip.program.freezing.reading import sample_axis
from keras_lip.program.nodes.merges import Extremum
from keras_lip.program.nodes.selections import Slice
from keras_lip.proofs.norms import NORMS
from keras_lip.types import Config
from keras_lip.types import Shape
from keras_lip.types import Tensor
from keras_lip.validation import check_integer


@keras.saving.register_keras_serializable(package="keras_lip")
class MaxChannelPooling(LipschitzLayer):
    """Pools the two halves of the channels to their maximum.

    For `2 c` input channels, output channel `i` is the maximum of the channels
    `i` and `c + i`. A maximum changes by at most the largest change of its
    arguments, and each channel is in only one maximum. The layer is therefore
    1-Lipschitz in every l-p norm and preserves the norm of the gradient.

    Args:
        axis: Integer. The channel axis. Defaults to `-1`, the last axis.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        ValueError: If the number of channels is odd.

    Input shape:
        Arbitrary, with a batch axis first.

    Output shape:
        Same as the input, with half as many channels.

    Example:

    >>> layer = keras_lip.layers.MaxChannelPooling()
    >>> outputs = layer(np.array([[3.0, 1.0, 2.0, 4.0]]))
    >>> keras.ops.convert_to_numpy(outputs).tolist()
    [[3.0, 4.0]]

    Reference:

    - [Singla & Feizi, 2022](https://arxiv.org/abs/2211.08453), section 6
    """

    norms = NORMS

    def __init__(self, axis: int = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = check_integer("axis", axis)

    def build(self, input_shape: Shape) -> None:
        check_groups(self, input_shape, self.axis, group_size=2)

    def call(self, inputs: Tensor) -> Tensor:
        return ops.maximum(*ops.split(inputs, 2, axis=self.axis))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        # The same instance may be called on inputs of several shapes.
        check_groups(self, input_shape, self.axis, group_size=2)
        shape: list[Any] = list(input_shape)
        if shape[self.axis] is not None:
            shape[self.axis] //= 2
        return tuple(shape)

    def freeze(self, *inputs: Wire) -> Wire:
        (x,) = inputs
        axis = sample_axis(x, self.axis)
        half = 1 if x.shape is None else (x.shape[axis] or 0) // 2
        before = ((None, None, None),) * max(axis, 0)
        low = x.then(Slice((*before, (None, half, None))))
        return low.then(
            Extremum(True), x.then(Slice((*before, (half, None, None))))
        )

    def get_config(self) -> Config:
        return {**super().get_config(), "axis": self.axis}
