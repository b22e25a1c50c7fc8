"""The convolutions, activations and heads of applications, by name."""

import inspect
from collections.abc import Callable
from collections.abc import Mapping
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

# Arguments of layers that `convolve` or the network around it sets.
_SET_BY_NETWORKS = {
    "activation",
    "data_format",
    "dilation_rate",
    "filters",
    "groups",
    "hidden_filters",
    "kernel_size",
    "kwargs",
    "padding",
    "padding_mode",
    "strides",
}


def convolve(
    images: Tensor,
    convolution: str,
    filters: int,
    kernel_size: int,
    padding_mode: str,
    arguments: Mapping[str, Any] | None = None,
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
        arguments: Further arguments of the layer, by name. Defaults to `None`,
            for its defaults.

    Returns:
        Symbolic tensor.

    Raises:
        ValueError: If `convolution` is unknown, or the layer does not have an
            argument.
    """
    known = {**CONVOLUTIONS, **RESIDUAL_BLOCKS}
    layer_cls = find("convolution", convolution, known)
    arguments = {
        "padding_mode": padding_mode,
        "data_format": "channels_last",
        **_check_arguments(layer_cls, arguments),
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


def _check_arguments(
    layer_cls: type[keras.layers.Layer], arguments: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Returns arguments of a layer, except those that a network sets."""
    arguments = dict(arguments or {})
    known = inspect.signature(layer_cls).parameters.keys() - _SET_BY_NETWORKS
    for argument in arguments:
        check_known(f"argument of `{layer_cls.__name__}`", argument, known)
    return arguments


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
