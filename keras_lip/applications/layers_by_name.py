"""The convolutions, activations and heads of applications, by name."""

from collections.abc import Callable
from typing import Any

import keras

from keras_lip.layers.convolutional.soc_conv2d import SOCConv2D
from keras_lip.layers.core.curvature_head import CurvatureHead
from keras_lip.layers.core.orthogonal_dense import OrthogonalDense
from keras_lip.layers.core.unit_norm_dense import UnitNormDense
from keras_lip.layers.registry import ACTIVATIONS
from keras_lip.layers.registry import CONVOLUTIONS
from keras_lip.layers.registry import RESIDUAL_BLOCKS
from keras_lip.layers.registry import find
from keras_lip.layers.reshaping.invertible_downsampling2d import (
    InvertibleDownsampling2D,
)
from keras_lip.layers.reshaping.pad_channels import PadChannels
from keras_lip.layers.reshaping.truncate_channels import TruncateChannels
from keras_lip.types import Tensor
from keras_lip.validation import check_known
from keras_lip.validation import check_positive_integer


def convolve(
    images: Tensor,
    convolution: str,
    filters: int,
    kernel_size: int,
    padding_mode: str,
) -> Tensor:
    """Applies a new convolution with strides of one to images.

    A residual block does not change the number of channels. Zero channels are
    appended before it, or the last channels are dropped after it. It has
    `filters` hidden channels. A skew-symmetric convolution needs an odd window,
    so an even `kernel_size` is increased by one.

    Args:
        images: Symbolic tensor, channels last.
        convolution: Name of a convolution or residual block that
            `keras_lip.layers.get` knows.
        filters: Integer. Number of channels of the output.
        kernel_size: Integer. Side of the window.
        padding_mode: `"circular"` or `"zeros"`.

    Returns:
        Symbolic tensor.

    Raises:
        ValueError: If `convolution` is unknown.
    """
    known = {**CONVOLUTIONS, **RESIDUAL_BLOCKS}
    layer_cls = find("convolution", convolution, known)
    arguments: dict[str, Any] = {
        "padding_mode": padding_mode,
        "data_format": "channels_last",
    }
    if layer_cls is SOCConv2D:
        kernel_size += 1 - kernel_size % 2
    if layer_cls in CONVOLUTIONS.values():
        return layer_cls(filters, kernel_size, **arguments)(images)
    if filters > images.shape[-1]:
        images = PadChannels(filters)(images)
    images = layer_cls(filters, kernel_size, **arguments)(images)
    if filters < images.shape[-1]:
        images = TruncateChannels(filters)(images)
    return images


def downsample(images: Tensor) -> Tensor:
    """Turns blocks of two by two pixels into channels."""
    return InvertibleDownsampling2D(2, data_format="channels_last")(images)


def make_activation(activation: str) -> keras.layers.Layer:
    """Creates a 1-Lipschitz activation by its name."""
    return find("activation", activation, ACTIVATIONS)()


def make_head(
    head: str,
    classes: int,
    parametrization: str = "cayley",
    hidden_units: int = 4096,
) -> keras.layers.Layer:
    """Makes the last layer of a classifier.

    Args:
        head: `"curvature"`, `"orthogonal"`, `"truncation"` or `"unit_norm"`.
        classes: Positive integer. Number of outputs.
        parametrization: Name of an orthogonal parametrization, for
            `"orthogonal"`.
        hidden_units: Positive integer, for `"curvature"`.

    Returns:
        A layer.

    Raises:
        ValueError: If `head` is unknown, or `classes` or `hidden_units` is not
            a positive integer.
    """
    check_positive_integer("classes", classes)
    check_positive_integer("hidden_units", hidden_units)
    heads: dict[str, Callable[[], keras.layers.Layer]] = {
        "curvature": lambda: CurvatureHead(classes, hidden_units),
        "orthogonal": lambda: OrthogonalDense(
            classes, parametrization=parametrization
        ),
        "truncation": lambda: TruncateChannels(classes),
        "unit_norm": lambda: UnitNormDense(classes),
    }
    check_known("head", head, heads)
    return heads[head]()
