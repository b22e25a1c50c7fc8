"""The convolutions that an application can be built of, by name."""

from collections.abc import Callable
from typing import Any

import keras

from keras_lip.layers.convolutional.aol_conv import AOLConv2D
from keras_lip.layers.convolutional.bcop_conv import BCOPConv2D
from keras_lip.layers.convolutional.cayley_conv2d import CayleyConv2D
from keras_lip.layers.convolutional.ossn_conv2d import OSSNConv2D
from keras_lip.layers.convolutional.rko_conv import RKOConv2D
from keras_lip.layers.convolutional.soc_conv2d import SOCConv2D
from keras_lip.layers.convolutional.svcm_conv2d import SVCMConv2D
from keras_lip.layers.reshaping.invertible_downsampling2d import (
    InvertibleDownsampling2D,
)
from keras_lip.layers.reshaping.pad_channels import PadChannels
from keras_lip.layers.reshaping.truncate_channels import TruncateChannels
from keras_lip.layers.residual.convex_potential_conv2d import (
    ConvexPotentialConv2D,
)
from keras_lip.layers.residual.sll_conv2d import SLLConv2D
from keras_lip.types import Tensor
from keras_lip.validation import check_known

_CONVOLUTIONS: dict[str, Callable[..., keras.layers.Layer]] = {
    "aol": AOLConv2D,
    "bcop": BCOPConv2D,
    "cayley": CayleyConv2D,
    "ossn": OSSNConv2D,
    "rko": RKOConv2D,
    "soc": SOCConv2D,
    "svcm": SVCMConv2D,
}
_RESIDUAL: dict[str, Callable[..., keras.layers.Layer]] = {
    "cpl": ConvexPotentialConv2D,
    "sll": SLLConv2D,
}


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
        convolution: Name of the parametrization.
        filters: Integer. Number of channels of the output.
        kernel_size: Integer. Side of the window.
        padding_mode: `"circular"` or `"zeros"`.

    Returns:
        Symbolic tensor.

    Raises:
        ValueError: If `convolution` is not known.
    """
    check_known("convolution", convolution, [*_CONVOLUTIONS, *_RESIDUAL])
    arguments: dict[str, Any] = {
        "padding_mode": padding_mode,
        "data_format": "channels_last",
    }
    if convolution == "soc":
        kernel_size += 1 - kernel_size % 2
    if convolution in _CONVOLUTIONS:
        layer = _CONVOLUTIONS[convolution](filters, kernel_size, **arguments)
        return layer(images)
    if filters > images.shape[-1]:
        images = PadChannels(filters)(images)
    images = _RESIDUAL[convolution](filters, kernel_size, **arguments)(images)
    if filters < images.shape[-1]:
        images = TruncateChannels(filters)(images)
    return images


def downsample(images: Tensor) -> Tensor:
    """Makes channels of blocks of two by two pixels."""
    return InvertibleDownsampling2D(2, data_format="channels_last")(images)
