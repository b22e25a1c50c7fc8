"""Networks of stacked residual blocks, and their published sizes."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras

from keras_lip.applications.image_input import check_image_shape
from keras_lip.applications.layers_by_name import make_head
from keras_lip.layers.core.layer_stack import LayerStack
from keras_lip.layers.pooling.scaled_average_pooling2d import (
    ScaledAveragePooling2D,
)
from keras_lip.layers.reshaping.pad_channels import PadChannels
from keras_lip.models.lipschitz_sequential import LipschitzSequential
from keras_lip.validation import check_known
from keras_lip.validation import check_positive_integer

_POOL_SIZE = 4


@dataclasses.dataclass(frozen=True)
class Size:
    """Numbers of blocks and channels.

    Args:
        depth: Number of convolutional blocks.
        channels: Number of channels of each convolutional block.
        linear_depth: Number of dense blocks.
    """

    depth: int
    channels: int
    linear_depth: int


_SIZES = {
    "S": Size(20, 45, 7),
    "M": Size(30, 60, 10),
    "L": Size(50, 90, 10),
    "XL": Size(70, 120, 15),
}


def get_size(size: Any, **changes: int | None) -> Size:
    """Returns a published size, with given numbers replaced."""
    check_known("size", size, _SIZES)
    given = {
        name: check_positive_integer(name, value)
        for name, value in changes.items()
        if value is not None
    }
    return dataclasses.replace(_SIZES[size], **given)


def stack_blocks(
    size: Size,
    make_image_block: Callable[[], keras.layers.Layer],
    make_dense_block: Callable[[], keras.layers.Layer],
    input_shape: Any,
    classes: int,
    head: str,
    scan_blocks: bool,
    name: str | None,
) -> LipschitzSequential:
    """Stacks convolutional blocks, a pooling layer and dense blocks.

    Args:
        size: Numbers of blocks and channels.
        make_image_block: Function that creates a convolutional block.
        make_dense_block: Function that creates a dense block.
        input_shape: Shape of an image.
        classes: Positive integer. Number of outputs.
        head: Name of the last layer.
        scan_blocks: Boolean. Whether to put the blocks of each kind in a
            `LayerStack`.
        name: Name of the model, or `None`.

    Returns:
        A model, not compiled.
    """
    pooling = ScaledAveragePooling2D(_POOL_SIZE, data_format="channels_last")
    return LipschitzSequential(
        [
            keras.Input(check_image_shape(input_shape, _POOL_SIZE)),
            PadChannels(size.channels),
            *_repeat(make_image_block, size.depth, scan_blocks),
            pooling,
            keras.layers.Flatten("channels_last"),
            *_repeat(make_dense_block, size.linear_depth, scan_blocks),
            make_head(head, classes),
        ],
        name=name,
    )


def _repeat(
    make_block: Callable[[], keras.layers.Layer], depth: int, scan_blocks: bool
) -> list[keras.layers.Layer]:
    """Returns `depth` blocks, or one loop over them."""
    if scan_blocks:
        return [LayerStack(make_block(), depth)]
    return [make_block() for _ in range(depth)]
