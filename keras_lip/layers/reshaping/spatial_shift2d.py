"""Shift of groups of image channels in different directions."""

import math
from typing import Any

import keras
from keras import ops

from keras_lip.layers.image_format import check_data_format
from keras_lip.layers.lipschitz_layer import LipschitzLayer
from keras_lip.program.builder import Wire
from keras_lip.program.freezing.reading import on_images
from keras_lip.program.nodes.shift import Shift
from keras_lip.program.nodes.shift import shift_channels
from keras_lip.proofs.norms import NORMS
from keras_lip.types import Config
from keras_lip.types import Shape
from keras_lip.types import Tensor
from keras_lip.validation import check_known
from keras_lip.validation import check_number
from keras_lip.validation import check_positive_integer


@keras.saving.register_keras_serializable(package="keras_lip")
class SpatialShift2D(LipschitzLayer):
    """Shifts groups of image channels up, down, left and right.

    The first group of channels moves up by `shift` pixels, and the next groups
    move down, left and right. The remaining channels do not move. With circular
    padding the layer permutes the entries, so it preserves every l-p norm, also
    of the gradient. Every depthwise convolution with this property is a shift,
    up to the sign. With zero padding the layer is 1-Lipschitz. The layer has no
    weights. With a matrix on the channels before it and one after it, it mixes
    neighbouring pixels.

    Args:
        ratio: Float, greater than 0 and at most 1 / 4. Fraction of the channels
            that move in each of the four directions. The number of channels is
            rounded down, but it is at least one. Defaults to `1 / 8`.
        shift: Positive integer, less than the sides of the images. Number of
            pixels that they move. Defaults to `1`.
        data_format: `"channels_last"` or `"channels_first"`. Defaults to
            `None`, for `keras.config.image_data_format()`.
        padding_mode: `"circular"` or `"zeros"`. Values of the pixels that
            become free: the pixels that leave the image on the opposite side,
            or zeros. Defaults to `"circular"`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        ValueError: If an argument is out of range, if there are fewer than four
            channels, or if a side is not longer than `shift`.

    Input shape:
        `(batch_size, height, width, channels)`, or with `"channels_first"`
        `(batch_size, channels, height, width)`.

    Output shape:
        Same as the input.

    Example:

    >>> layer = keras_lip.layers.SpatialShift2D(1 / 4)
    >>> x = np.arange(8.0).reshape(1, 2, 1, 4).repeat(2, axis=2)
    >>> keras.ops.convert_to_numpy(layer(x))[0, :, 0].tolist()
    [[4.0, 5.0, 2.0, 3.0], [0.0, 1.0, 6.0, 7.0]]

    Reference:

    - [Hu et al., 2026](https://arxiv.org/abs/2601.18513), Theorem 1
    """

    norms = NORMS
    guarantee = "permutation"

    def __init__(
        self,
        ratio: float = 1 / 8,
        shift: int = 1,
        data_format: str | None = None,
        *,
        padding_mode: str = "circular",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.ratio = check_number("ratio", ratio, 0.0, 0.25, open_low=True)
        self.shift = check_positive_integer("shift", shift)
        self.data_format = check_data_format(data_format)
        check_known("padding_mode", padding_mode, ("circular", "zeros"))
        self.padding_mode = padding_mode
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape: Shape) -> None:
        self.compute_output_shape(input_shape)

    def call(self, inputs: Tensor) -> Tensor:
        first = self.data_format == "channels_first"
        images = ops.moveaxis(inputs, 1, -1) if first else inputs
        outputs = shift_channels(
            images,
            list_moves(images.shape[-1], self.ratio, self.shift),
            self.padding_mode == "circular",
            ops,
        )
        return ops.moveaxis(outputs, -1, 1) if first else outputs

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        # One instance may be called on several shapes.
        _, *sides, channels = input_shape
        if self.data_format == "channels_first":
            channels, *sides = input_shape[1:]
        check_moves(self, sides, channels, self.shift, input_shape)
        return input_shape

    def freeze(self, *inputs: Wire) -> Wire:
        (x,) = inputs
        if x.shape is None:
            raise ValueError(
                f"Layer '{self.name}' of type `SpatialShift2D` is not built, "
                "so its number of channels is not known. Call it on a batch "
                "of data first."
            )
        axis = -1 if self.data_format == "channels_last" else 0
        moves = list_moves(int(x.shape[axis] or 0), self.ratio, self.shift)
        return on_images(x, self, Shift(moves, self.padding_mode == "circular"))

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "ratio": self.ratio,
            "shift": self.shift,
            "data_format": self.data_format,
            "padding_mode": self.padding_mode,
        }


def check_moves(
    layer: Any, sides: Any, channels: Any, shift: int, input_shape: Shape
) -> None:
    """Checks that the channels can be shifted in four directions.

    Raises:
        ValueError: If there are fewer than four channels, if their number is
            not known, or if a side is not longer than the shift.
    """
    if channels is None or channels < 4:
        raise ValueError(
            f"Layer '{layer.name}' shifts channels in four directions and "
            "needs at least four channels, of a known number. Received: "
            f"input_shape={tuple(input_shape)}, "
            f"data_format={layer.data_format!r}"
        )
    if any(side is not None and side <= shift for side in sides):
        raise ValueError(
            f"The images of layer '{layer.name}' must be longer than "
            f"`shift` on every side. Received: shift={shift}, "
            f"input_shape={tuple(input_shape)}"
        )


def list_moves(
    channels: int, ratio: float, shift: int
) -> tuple[tuple[int, int, int], ...]:
    """Returns the moves of a `Shift`: up, down, left and right.

    Args:
        channels: Integer, at least four.
        ratio: Float. Fraction of the channels that move in each direction.
        shift: Integer. Number of pixels that they move.
    """
    count = max(math.floor(ratio * channels), 1)
    return tuple(
        (count, axis, step)
        for axis, step in ((0, -shift), (0, shift), (1, -shift), (1, shift))
    )
