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

# Arguments of convolutions that the applications determine.
_FIXED_ARGUMENTS = {
    "self",
    "data_format",
    "filters",
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
    options: Mapping[str, Any] | None = None,
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
        options: Dict of other arguments of the layer, such as
            `{"parametrization": "bjorck"}` for `"bcop"` or `"rko"`, `{"scale":
            0.85}` for `"cayley"`, or `{"step_fraction": 0.9}` for
            `"convex_potential"`. Defaults to `None`, for its defaults.

    Returns:
        Symbolic tensor.

    Raises:
        TypeError: If `options` is not a dict.
        ValueError: If `convolution` is unknown, or the layer has no such
            option.
    """
    known = {**CONVOLUTIONS, **RESIDUAL_BLOCKS}
    layer_cls = find("convolution", convolution, known)
    arguments: dict[str, Any] = {
        **_check_options(convolution, layer_cls, options),
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


def _check_options(
    convolution: str, layer_cls: type[keras.layers.Layer], options: Any
) -> Mapping[str, Any]:
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        raise TypeError(
            "`convolution_options` must be a dict from the names of arguments "
            f"to their values. Received: convolution_options={options!r}"
        )
    signature = inspect.signature(layer_cls.__init__)
    known = sorted(set(signature.parameters) - _FIXED_ARGUMENTS)
    for name in options:
        if name not in known:
            listed = ", ".join(map(repr, known))
            raise ValueError(
                f"Unknown option of the convolution {convolution!r}: {name!r}. "
                f"The known ones are: {listed}."
            )
    return options


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
