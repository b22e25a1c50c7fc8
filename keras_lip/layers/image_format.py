"""The arguments that layers of images share."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_lip.validation import check_known
from keras_lip.validation import check_positive_integer


def check_data_format(data_format: Any) -> str:
    """Returns the data format, by default that of the Keras configuration."""
    if data_format is None:
        return keras.config.image_data_format()
    formats = ("channels_first", "channels_last")
    check_known("data_format", data_format, formats)
    return data_format


def check_pair(name: str, value: int | Sequence[int]) -> tuple[int, int]:
    """Returns a size for the rows and one for the columns of an image."""
    sizes = value if isinstance(value, list | tuple) else (value, value)
    if len(sizes) != 2:
        raise ValueError(
            f"`{name}` must be a positive integer, or two of them: one for the "
            f"rows and one for the columns. Received: {name}={value!r}"
        )
    rows, columns = (check_positive_integer(name, size) for size in sizes)
    return rows, columns


def image_axes(data_format: str) -> tuple[int, int]:
    """Returns the axes of the rows and of the columns."""
    return (1, 2) if data_format == "channels_last" else (2, 3)
