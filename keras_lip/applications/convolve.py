"""The convolutions that an application can be built of, by name."""

from typing import Any

from keras_lip.layers.registry import CONVOLUTIONS
from keras_lip.layers.registry import get
from keras_lip.layers.reshaping.invertible_downsampling2d import (
    InvertibleDownsampling2D,
)
from keras_lip.layers.reshaping.pad_channels import PadChannels
from keras_lip.layers.reshaping.truncate_channels import TruncateChannels
from keras_lip.types import Tensor


def convolve(
    images: Tensor,
    convolution: str,
    filters: int,
    kernel_size: int,
    padding_mode: str,
) -> Tensor:
    """Applies a new convolution with strides of one to images.

    A residual block leaves the number of channels as it is: zeros are added
    before it, or the last channels dropped after it. It has as many hidden
    channels as there are filters. A skew-symmetric convolution has no even
    window, and takes the next larger one.

    Args:
        images: Symbolic tensor, channels last.
        convolution: Name that `keras_lip.layers.get` knows.
        filters: Integer. Number of channels of the output.
        kernel_size: Integer. Side of the window.
        padding_mode: `"circular"` or `"zeros"`.

    Returns:
        Symbolic tensor.

    Raises:
        ValueError: If `convolution` is not known.
    """
    layer_cls = get(convolution)
    arguments: dict[str, Any] = {
        "padding_mode": padding_mode,
        "data_format": "channels_last",
    }
    if convolution == "soc":
        kernel_size += 1 - kernel_size % 2
    if convolution in CONVOLUTIONS:
        return layer_cls(filters, kernel_size, **arguments)(images)
    if filters > images.shape[-1]:
        images = PadChannels(filters)(images)
    images = layer_cls(filters, kernel_size, **arguments)(images)
    if filters < images.shape[-1]:
        images = TruncateChannels(filters)(images)
    return images


def downsample(images: Tensor) -> Tensor:
    """Makes channels of blocks of two by two pixels."""
    return InvertibleDownsampling2D(2, data_format="channels_last")(images)
