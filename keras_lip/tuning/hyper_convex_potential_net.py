"""A searched family of residual networks, 1-Lipschitz by convexity."""

from typing import Any

import keras

import keras_lip as kl
from keras_lip.layers.registry import DENSE_RESIDUAL_BLOCKS
from keras_lip.layers.registry import RESIDUAL_BLOCKS
from keras_lip.tuning import search_space
from keras_lip.tuning.base_hyper_model import BaseHyperModel


class HyperConvexPotentialNet(BaseHyperModel):
    """Residual networks: depth and width of convolutional and dense blocks.

    First each block of two by two pixels becomes one pixel, and zero channels
    widen the image to the number of filters. Then residual blocks follow:
    convolutional blocks, and dense blocks on the flattened image. The four
    parameters are those of the paper's Table 1. In addition to the blocks of
    the paper there are `"sll"` blocks.

    Args:
        input_shape: Tuple. Shape of one image, channels last.
        classes: Integer of at least two.
        epsilon: Positive float. Radius of the certified accuracy.
        name: String or `None`, as in `keras_tuner.HyperModel`. Defaults to
            `None`.
        tunable: Boolean, as in `keras_tuner.HyperModel`. Defaults to `True`.

    Raises:
        ValueError: If a side of the image is odd, or the image has more than
            four channels.

    Example:

    >>> hyper_model = HyperConvexPotentialNet((32, 32, 3), 10, epsilon=36 / 255)

    Reference:

    - [Meunier et al., 2022](https://arxiv.org/abs/2110.12690), section 5
    - [Araujo et al., 2023](https://arxiv.org/abs/2303.03169), for `"sll"`
    """

    def build_layers(self, hp: Any) -> list[keras.layers.Layer]:
        self._check_input_shape()
        block = hp.Choice("block", list(RESIDUAL_BLOCKS))
        depth = hp.Choice(
            "depth", list(search_space.RESIDUAL_DEPTHS), default=5
        )
        filters = hp.Choice("filters", list(search_space.FILTERS), default=32)
        padding_mode = hp.Choice(
            "padding_mode", list(search_space.PADDING_MODES)
        )
        dense_depth = hp.Choice(
            "dense_depth", list(search_space.RESIDUAL_DENSE_DEPTHS), default=2
        )
        with hp.conditional_scope("dense_depth", [2, 5]):
            units = hp.Choice("units", list(search_space.UNITS))

        convolution, dense = (
            RESIDUAL_BLOCKS[block],
            DENSE_RESIDUAL_BLOCKS[block],
        )
        return [
            kl.layers.InvertibleDownsampling2D(2, data_format="channels_last"),
            kl.layers.PadChannels(filters),
            *(
                convolution(
                    filters,
                    3,
                    padding_mode=padding_mode,
                    data_format="channels_last",
                )
                for _ in range(depth)
            ),
            keras.layers.Flatten(data_format="channels_last"),
            *(dense(units) for _ in range(dense_depth)),
        ]

    def _check_input_shape(self) -> None:
        height, width, channels = self.input_shape
        if height % 2 or width % 2 or 4 * channels > min(search_space.FILTERS):
            raise ValueError(
                "Blocks of two by two pixels become channels of at least "
                f"{min(search_space.FILTERS)} filters: the sides must be even, "
                f"and the channels at most {min(search_space.FILTERS) // 4}. "
                f"Received: input_shape={self.input_shape}"
            )
