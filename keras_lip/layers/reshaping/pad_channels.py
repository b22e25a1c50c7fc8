"""Appends zero channels to the input."""

from typing import Any

import keras

from keras_lip.layers.activations.channel_groups import check_channels
from keras_lip.layers.lipschitz_layer import LipschitzLayer
from keras_lip.operators import pad_zeros
from keras_lip.program.builder import Wire
from keras_lip.program.freezing.reading import sample_axis
from keras_lip.program.nodes.selections import Pad
from keras_lip.proofs.norms import NORMS
from keras_lip.types import Config
from keras_lip.types import Shape
from keras_lip.types import Tensor
from keras_lip.validation import check_integer
from keras_lip.validation import check_positive_integer


@keras.saving.register_keras_serializable(package="keras_lip")
class PadChannels(LipschitzLayer):
    """Appends zero channels.

    The layer is an isometry: it preserves distances in every l-p norm, so it is
    1-Lipschitz. It widens a network without weights, for example before a
    residual block, which cannot change the number of channels.

    Args:
        channels: Positive integer. Number of channels of the output.
        axis: Integer. The channel axis. Defaults to `-1`, the last axis.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        ValueError: If `channels` is not a positive integer or the input has
            more channels.

    Input shape:
        Arbitrary, with a batch axis first.

    Output shape:
        Same as the input, with `channels` on the channel axis.

    Example:

    >>> layer = keras_lip.layers.PadChannels(4)
    >>> outputs = layer(np.array([[3.0, 1.0]]))
    >>> keras.ops.convert_to_numpy(outputs).tolist()
    [[3.0, 1.0, 0.0, 0.0]]

    Reference:

    - [Meunier et al., 2022](https://arxiv.org/abs/2110.12690), section 5
    """

    norms = NORMS
    guarantee = "isometry"

    def __init__(self, channels: int, axis: int = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.channels = check_positive_integer("channels", channels)
        self.axis = check_integer("axis", axis)

    def build(self, input_shape: Shape) -> None:
        channels = check_channels(self, input_shape, self.axis)
        if channels > self.channels:
            raise ValueError(
                f"Layer '{self.name}' pads its input to {self.channels} "
                f"channels. Received: {channels} channels on axis {self.axis} "
                f"of input_shape={tuple(input_shape)}"
            )
        self.input_spec = keras.layers.InputSpec(
            ndim=len(input_shape), axes={self.axis: channels}
        )

    def call(self, inputs: Tensor) -> Tensor:
        pad_width = [[0, 0] for _ in inputs.shape]
        pad_width[self.axis][1] = self.channels - inputs.shape[self.axis]
        return pad_zeros(inputs, pad_width)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        shape = list(input_shape)
        shape[self.axis] = self.channels
        return tuple(shape)

    def freeze(self, *inputs: Wire) -> Wire:
        (x,) = inputs
        if x.shape is None:
            return x
        widths = [(0, 0)] * len(x.shape)
        axis = sample_axis(x, self.axis)
        widths[axis] = (0, self.channels - (x.shape[axis] or 0))
        return x.then(Pad(tuple(widths)))

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "channels": self.channels,
            "axis": self.axis,
        }
