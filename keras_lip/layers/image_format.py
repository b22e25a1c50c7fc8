"""Arguments that are common to layers of images."""

from typing import Any

import keras

from keras_lip.types import Shape
from keras_lip.validation import check_known
from keras_lip.validation import check_positive_integer


def check_data_format(data_format: Any) -> str:
    """Returns the data format, by default that of the Keras configuration."""
    if data_format is None:
        return keras.config.image_data_format()
    formats = ("channels_first", "channels_last")
    check_known("data_format", data_format, formats)
    return data_format


def check_sizes(name: str, value: Any, rank: int = 2) -> tuple[int, ...]:
    """Returns one positive integer for each axis of an image."""
    sizes = value if isinstance(value, list | tuple) else (value,) * rank
    if len(sizes) != rank:
        raise ValueError(
            f"`{name}` must be a positive integer, or {rank} of them: one for "
            f"each image axis. Received: {name}={value!r}"
        )
    return tuple(check_positive_integer(name, size) for size in sizes)


def image_axes(data_format: str) -> tuple[int, int]:
    """Returns the axes of the rows and of the columns."""
    return (1, 2) if data_format == "channels_last" else (2, 3)


def unfit_window(layer: Any, input_shape: Shape) -> ValueError:
    """Returns the error of a layer whose window exceeds its inputs."""
    return ValueError(
        f"The window of layer '{layer.name}' must fit into its inputs. "
        f"Received: input_shape={tuple(input_shape)}, "
        f"kernel_size={layer.kernel_size}, padding={layer.padding!r}, "
        f"data_format={layer.data_format!r}. Use a smaller window, or "
        'padding="same".'
    )
