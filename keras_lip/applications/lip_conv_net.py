"""Convolutional networks of skew orthogonal convolutions."""

import os
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras

from keras_lip.applications.image_input import make_image_input
from keras_lip.applications.layers_by_name import convolve
from keras_lip.applications.layers_by_name import downsample
from keras_lip.applications.layers_by_name import make_activation
from keras_lip.applications.layers_by_name import make_head
from keras_lip.applications.published_weights import with_weights
from keras_lip.layers.pooling.max_channel_pooling import MaxChannelPooling
from keras_lip.layers.pooling.projection_pooling import ProjectionPooling
from keras_lip.models.lipschitz_model import LipschitzModel
from keras_lip.types import Tensor
from keras_lip.validation import check_known
from keras_lip.validation import check_positive_integer

_NUM_BLOCKS = 5


@with_weights
def LipConvNet(
    depth: int = 15,
    input_shape: Sequence[int] = (32, 32, 3),
    classes: int = 10,
    convolution: str = "soc",
    activation: str = "max_min",
    pooling: str = "max",
    head: str = "unit_norm",
    width: int = 32,
    hidden_units: int = 4096,
    padding_mode: str | None = None,
    convolution_arguments: Mapping[str, Any] | None = None,
    name: str | None = None,
    weights: str | os.PathLike[str] | None = None,
) -> LipschitzModel:
    """Makes a LipConvNet: five blocks, each of which halves the sides.

    A convolution to `width` channels is followed by five blocks. Each block
    consists of `depth / 5 - 1` convolutions that keep the channels and the
    image size, invertible downsampling to four times the channels and half the
    sides, a convolution, and pooling to half of the channels. Windows are 3 x
    3, and 1 x 1 for the last convolution. An image of 32 x 32 becomes a vector
    of `32 * width` features for the head.

    Without its head the network is 1-Lipschitz in the l2 norm. With orthogonal
    convolutions it preserves the norm of gradients, except in the first
    convolution, which increases the dimension.
    `keras_lip.bounds.lipschitz_bound` is at most the bound of the head, up to
    rounding and up to the errors of the estimates of `"ossn"`, `"svcm"` and
    `"convex_potential"`, which the bound includes. The networks of the papers'
    tables use `pooling="max"` with the head `"unit_norm"`, and
    `pooling="projection"` with the head `"curvature"`, which is certified by
    its curvature.

    Args:
        depth: Positive multiple of five, in the paper 5 to 40. Number of
            convolutions after the first. Defaults to `15`.
        input_shape: Height, width and channels of an image. Sides must be
            multiples of 32. Defaults to `(32, 32, 3)`.
        classes: Positive integer. Number of outputs. Defaults to `10`.
        convolution: `"soc"`, as in the paper, `"aol"`, `"bcop"`, `"bro"`,
            `"cayley"`, `"lot"`, `"ossn"`, `"rko"` or `"svcm"`, or the residual
            blocks `"convex_potential"` or `"sll"`. Defaults to `"soc"`.
        activation: `"max_min"`, as in the paper, `"absolute_value"`,
            `"beta_abs"`, `"full_sort"`, `"group_sort"` (of pairs),
            `"householder"` or `"relu"`. Defaults to `"max_min"`.
        pooling: `"max"` or `"projection"`, which combine the two halves of the
            channels, or `"truncation"`, which is a convolution to half of the
            channels and an activation. Defaults to `"max"`.
        head: `"unit_norm"`, `"curvature"`, `"orthogonal"` or `"truncation"`.
            Defaults to `"unit_norm"`.
        width: Positive integer. Number of channels of the first convolution.
            Defaults to `32`.
        hidden_units: Positive integer. Number of hidden units of the head
            `"curvature"`. Defaults to `4096`.
        padding_mode: `"zeros"`, as in the paper, or `"circular"`. With
            `"zeros"`, `"soc"` is orthogonal, but `"bcop"` is not. `"cayley"`
            needs `"circular"`. Defaults to `None`, for `"zeros"` with `"soc"`
            and `"circular"` with others.
        convolution_arguments: Dict. Further arguments of all convolutions, by
            name. `{"train_terms": 5, "eval_terms": 14, "gradient": "exact"}`
            are those of `"soc"` in the rows "Baseline" of the paper's tables;
            the other rows have `"fast"`. Defaults to `None`, for the defaults
            of the layer, which are not the paper's: 6 terms in training, 12 at
            inference and the fast gradient.
        name: Name of the model. Defaults to `None`.
        weights: Name of trained weights that `list_weights` lists, which also
            set the other arguments, or the path of a `.weights.h5` file.
            Defaults to `None`, for a random start.

    Returns:
        A `keras_lip.models.LipschitzModel`, not compiled.

    Raises:
        ValueError: If an argument is invalid, or `input_shape` does not fit the
            network.

    Example:

    >>> model = keras_lip.applications.LipConvNet(5, width=2)
    >>> model.output_shape
    (None, 10)

    Reference:

    - [Singla & Feizi, 2022](https://arxiv.org/abs/2211.08453), table 2, and
      tables 3 and 4 for the results
    """
    num_repeats = _check_depth(depth) // _NUM_BLOCKS - 1
    poolings: dict[str, Callable[[], keras.layers.Layer]] = {
        "max": MaxChannelPooling,
        "projection": ProjectionPooling,
        "truncation": lambda: make_activation(activation),
    }
    check_known("pooling", pooling, poolings)
    inputs = make_image_input(input_shape, 2**_NUM_BLOCKS)
    filters = check_positive_integer("width", width)
    if padding_mode is None:
        padding_mode = "zeros" if convolution == "soc" else "circular"

    def apply(images: Tensor, filters: int, kernel_size: int) -> Tensor:
        return convolve(
            images,
            convolution,
            filters,
            kernel_size,
            padding_mode,
            convolution_arguments,
        )

    x = apply(inputs, filters, 3)
    x = make_activation(activation)(x)
    for block in range(_NUM_BLOCKS):
        for _ in range(num_repeats):
            x = apply(x, filters, 3)
            x = make_activation(activation)(x)
        images = apply(
            downsample(x),
            (2 if pooling == "truncation" else 4) * filters,
            1 if block == _NUM_BLOCKS - 1 else 3,
        )
        x = poolings[pooling]()(images)
        filters *= 2
    x = keras.layers.Flatten("channels_last")(x)
    outputs = make_head(head, classes, hidden_units=hidden_units)(x)
    return LipschitzModel(inputs, outputs, name=name)


def _check_depth(depth: Any) -> int:
    depth = check_positive_integer("depth", depth)
    if depth % _NUM_BLOCKS:
        raise ValueError(
            f"`depth` must be a multiple of {_NUM_BLOCKS}, the number of "
            f"blocks. Received: depth={depth}"
        )
    return depth
