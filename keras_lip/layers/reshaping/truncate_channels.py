"""Keeps the first channels of the input."""

from typing import Any

import keras

from keras_lip.layers.activations.channel_groups import check_channels
from keras_lip.layers.lipschitz_layer import LipschitzLayer
from keras_lip.program.builder import Wire
from keras_lip.program.freezing.reading import sample_axis
from keras_lip.program.nodes.selections import Slice
from keras_lip.proofs.norms import NORMS
from keras_lip.types import Config
from keras_lip.types import Shape
from keras_lip.types import Tensor
from keras_lip.validation import check_integer
from keras_lip.validation import check_positive_integer


@keras.saving.register_keras_serializable(package="keras_lip")
class TruncateChannels(LipschitzLayer):
    """Keeps the first channels and drops the others.

    The layer is an orthogonal projection, so it is 1-Lipschitz in every l-p
    norm. It inverts `PadChannels`.

    Args:
        channels: Positive integer. Number of channels of the output.
        axis: Integer. The channel axis. Defaults to `-1`, the last axis.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        ValueError: If `channels` is not a positive integer or the input has
            fewer channels.

    Input shape:
        Arbitrary, with a batch axis first.

    Output shape:
        Same as the input, with `channels` on the channel axis.

    Example:

    >>> layer = keras_lip.layers.TruncateChannels(2)
    >>> outputs = layer(np.array([[3.0, 1.0, 2.0, 4.0]]))
    >>> keras.ops.convert_to_numpy(outputs).tolist()
    [[3.0, 1.0]]

    Reference:

    - [Meunier et al., 2022](https://arxiv.org/abs/2110.12690), section 5
    """

    norms = NORMS

    def __init__(self, channels: int, axis: int = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.channels = check_positive_integer("channels", channels)
        self.axis = check_integer("axis", axis)

    def build(self, input_shape: Shape) -> None:
        channels = check_channels(self, input_shape, self.axis)
        if channels < self.channels:
            raise ValueError(
                f"Layer '{self.name}' truncates its input to {self.channels} "
                f"channels. Received: {channels} channels on axis {self.axis} "
                f"of input_shape={tuple(input_shape)}"
            )
        self.input_spec = keras.layers.InputSpec(
            ndim=len(input_shape), axes={self.axis: channels}
        )

    def call(self, inputs: Tensor) -> Tensor:
        index = [slice(None)] * len(inputs.shape)
        index[self.axis] = slice(self.channels)
        return inputs[tuple(index)]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        shape = list(input_shape)
        shape[self.axis] = self.channels
        return tuple(shape)

    def freeze(self, *inputs: Wire) -> Wire:
        (x,) = inputs
        before = ((None, None, None),) * max(sample_axis(x, self.axis), 0)
        return x.then(Slice((*before, (None, self.channels, None))))

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "channels": self.channels,
            "axis": self.axis,
        }
