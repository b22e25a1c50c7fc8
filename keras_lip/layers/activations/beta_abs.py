"""Absolute value of some of the channels."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lip.layers.activations.channel_groups import channel_shape
from keras_lip.layers.activations.channel_groups import check_channels
from keras_lip.layers.lipschitz_layer import LipschitzLayer
from keras_lip.program.builder import Wire
from keras_lip.program.freezing.reading import along_axis
from keras_lip.program.nodes.elementwise import Rectify
from keras_lip.proofs.norms import NORMS
from keras_lip.types import Array
from keras_lip.types import Config
from keras_lip.types import Shape
from keras_lip.types import Tensor
from keras_lip.validation import check_integer
from keras_lip.validation import check_number


@keras.saving.register_keras_serializable(package="keras_lip")
class BetaAbs(LipschitzLayer):
    """Takes the absolute value of the first channels.

    The layer takes the absolute value of the first `floor(beta * d)` of `d`
    channels and leaves the others unchanged. The slopes are 1 and -1, so the
    layer is 1-Lipschitz in every l-p norm and preserves the norm of the
    gradient wherever no input is zero. With `beta=0.5` it equals `MaxMin` up to
    an orthogonal matrix before it and one after it, but it does not compare or
    pair channels.

    Args:
        beta: Float between 0 and 1. Fraction of the channels. Defaults to
            `0.5`.
        axis: Integer. The axis of the channels. Defaults to the last.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        ValueError: If `beta` is out of range, `axis` is not an axis of the
            input or is the batch axis, or its size is not known.

    Input shape:
        Arbitrary, with a batch axis first.

    Output shape:
        Same as the input.

    Example:

    >>> layer = keras_lip.layers.BetaAbs()
    >>> outputs = layer(np.array([[-1.0, 2.0, -3.0, 4.0]]))
    >>> keras.ops.convert_to_numpy(outputs).tolist()
    [[1.0, 2.0, -3.0, 4.0]]

    Reference:

    - [Hu et al., 2026](https://arxiv.org/abs/2601.18513), on the activation of
      LipNeXt
    """

    norms = NORMS
    guarantee = "gradient norm preserving"

    def __init__(
        self, beta: float = 0.5, axis: int = -1, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.beta = check_number("beta", beta, 0.0, 1.0)
        self.axis = check_integer("axis", axis)

    def build(self, input_shape: Shape) -> None:
        check_channels(self, input_shape, self.axis)

    def call(self, inputs: Tensor) -> Tensor:
        shape = channel_shape(len(inputs.shape), self.axis)
        return take_moduli(inputs, self.beta, self.axis, shape)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        # One instance may be called on several shapes.
        check_channels(self, input_shape, self.axis)
        return input_shape

    def freeze(self, *inputs: Wire) -> Wire:
        (x,) = inputs
        if x.shape is None:
            raise ValueError(
                f"Layer '{self.name}' of type `BetaAbs` is not built, so its "
                "number of channels is not known. Call it on a batch of data "
                "first."
            )
        axis = self.axis if self.axis < 0 else self.axis - 1
        slopes = moduli_slopes(int(x.shape[axis] or 0), self.beta)
        return x.then(Rectify(along_axis(x, self.axis, slopes), None))

    def get_config(self) -> Config:
        return {**super().get_config(), "beta": self.beta, "axis": self.axis}


def count_moduli(channels: int, beta: float) -> int:
    """Returns the number of channels whose absolute value is taken."""
    return math.floor(beta * channels)


def moduli_slopes(channels: int, beta: float) -> Array:
    """Returns the slope of each channel below zero."""
    return np.where(
        np.arange(channels) < count_moduli(channels, beta), -1.0, 1.0
    )


def take_moduli(
    inputs: Tensor, beta: float, axis: int, shape: list[int]
) -> Tensor:
    """Takes the absolute value of the first channels.

    Args:
        inputs: Tensor.
        beta: Float. Fraction of the channels.
        axis: Integer. The axis of the channels.
        shape: List. Shape that aligns a vector of the channels with that axis.
    """
    channels = inputs.shape[axis]
    first = ops.arange(channels) < count_moduli(channels, beta)
    return ops.where(ops.reshape(first, shape), ops.absolute(inputs), inputs)
