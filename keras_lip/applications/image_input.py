"""Image inputs of applications."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_lip.types import Tensor
from keras_lip.validation import check_positive_integer


def check_image_shape(
    input_shape: Any, multiple: int = 1
) -> tuple[int, int, int]:
    """Returns a validated image shape.

    Args:
        input_shape: The argument of the application.
        multiple: Positive integer that must divide height and width.

    Returns:
        Height, width and channels.

    Raises:
        ValueError: If `input_shape` is not `(height, width, channels)`, or its
            sides are not multiples of `multiple`.
    """
    if not isinstance(input_shape, Sequence) or len(input_shape) != 3:
        raise ValueError(
            "`input_shape` must be `(height, width, channels)`, without a "
            f"batch axis. Received: input_shape={input_shape!r}"
        )
    height, width, channels = (
        check_positive_integer("input_shape", size) for size in input_shape
    )
    if height % multiple or width % multiple:
        fitting = (
            *(-(-side // multiple) * multiple for side in (height, width)),
            channels,
        )
        raise ValueError(
            "The height and the width of `input_shape` must be multiples of "
            f"{multiple}, because the network divides them. Received: "
            f"input_shape={input_shape!r}. Pad the images to {fitting}, for "
            "instance."
        )
    return height, width, channels


def make_image_input(input_shape: Any, multiple: int = 1) -> Tensor:
    """Returns a symbolic image input with a validated shape."""
    return keras.Input(check_image_shape(input_shape, multiple))
