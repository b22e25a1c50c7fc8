"""Wide residual networks of orthogonal convolutions."""

import os
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras

from keras_lip.applications.image_input import make_image_input
from keras_lip.applications.layers_by_name import convolve
from keras_lip.applications.layers_by_name import make_activation
from keras_lip.applications.layers_by_name import make_head
from keras_lip.applications.published_weights import with_weights
from keras_lip.layers.core.orthogonal_dense import OrthogonalDense
from keras_lip.layers.merging.convex_add import ConvexAdd
from keras_lip.layers.pooling.scaled_average_pooling2d import (
    ScaledAveragePooling2D,
)
from keras_lip.models.lipschitz_model import LipschitzModel
from keras_lip.types import Tensor
from keras_lip.validation import check_positive_integer

# Channels of the three groups of blocks, in units of `widen_factor * width`.
_GROUPS = (1, 2, 4)


@with_weights
def WideResNet(
    input_shape: Sequence[int] = (32, 32, 3),
    classes: int = 10,
    convolution: str = "cayley",
    activation: str = "max_min",
    parametrization: str = "cayley",
    head: str = "orthogonal",
    depth: int = 10,
    widen_factor: int = 10,
    width: int = 16,
    padding_mode: str = "circular",
    convolution_arguments: Mapping[str, Any] | None = None,
    name: str | None = None,
    weights: str | os.PathLike[str] | None = None,
) -> LipschitzModel:
    """Makes a wide residual network of convex sums.

    A convolution to `width` channels is followed by three groups of `(depth -
    4) / 6` residual blocks, with `widen_factor` times `width`, `2 * width` and
    `4 * width` channels. A block consists of an activation, a convolution, an
    activation and a convolution. Its inputs and outputs are added with
    trainable weights that sum to one. The first block of a group changes the
    number of channels: its second input of the sum is a third convolution of
    the activated inputs. In the second and the third group, average pooling
    over 2 x 2 follows the first and the third convolution of this block. An
    activation, average pooling over 4 x 4, a dense layer of `4 * widen_factor *
    width` units, an activation and the head follow. Windows are 3 x 3, and
    pooling is scaled to be 1-Lipschitz.

    Without its head the network is 1-Lipschitz in the l2 norm. With the head
    `"orthogonal"` the whole network is: `keras_lip.bounds.lipschitz_bound` is
    at most one, up to rounding and up to the errors of the estimates of
    `"ossn"`, `"svcm"` and `"convex_potential"`, which the bound includes.
    Pooling and sums do not preserve the norm of gradients.

    Args:
        input_shape: Height, width and channels of an image. Sides must be
            multiples of 16. Defaults to `(32, 32, 3)`.
        classes: Positive integer. Number of outputs. Defaults to `10`.
        convolution: `"cayley"`, `"aol"`, `"bcop"`, `"bro"`, `"lot"`, `"ossn"`,
            `"rko"`, `"soc"` or `"svcm"`, or the residual blocks
            `"convex_potential"` or `"sll"`. Defaults to `"cayley"`.
        activation: `"max_min"`, as in the paper, `"absolute_value"`,
            `"beta_abs"`, `"full_sort"`, `"group_sort"` (of pairs),
            `"householder"` or `"relu"`. Defaults to `"max_min"`.
        parametrization: Orthogonal parametrization of the dense layers.
            Defaults to `"cayley"`.
        head: `"orthogonal"`, as in the paper, `"unit_norm"`, `"curvature"` or
            `"truncation"`. Defaults to `"orthogonal"`.
        depth: Integer, four more than a positive multiple of six. Number of
            convolutions on a path without shortcuts, plus the three that change
            the number of channels. Defaults to `10`, as in the paper.
        widen_factor: Positive integer. Defaults to `10`, as in the paper.
        width: Positive integer. Number of channels of the first convolution.
            Defaults to `16`.
        padding_mode: `"circular"`, as in the paper, or `"zeros"`. Defaults to
            `"circular"`.
        convolution_arguments: Dict. Further arguments of all convolutions, by
            name, such as `{"training_iterations": 10}` for `"ossn"`. Defaults
            to `None`, for the defaults of the layer.
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

    >>> model = keras_lip.applications.WideResNet(
    ...     (16, 16, 3), widen_factor=2, width=2
    ... )
    >>> model.output_shape
    (None, 10)

    Reference:

    - [Zagoruyko & Komodakis, 2016](https://arxiv.org/abs/1605.07146)
    - [Trockman & Kolter, 2021](https://arxiv.org/abs/2104.07167), WideResNet
      10-10, as in the authors' code
    """
    num_blocks = _check_depth(depth) // 6
    check_positive_integer("widen_factor", widen_factor)
    check_positive_integer("width", width)

    def apply(images: Tensor, filters: int) -> Tensor:
        return convolve(
            images, convolution, filters, 3, padding_mode, convolution_arguments
        )

    def activate(x: Tensor) -> Tensor:
        return make_activation(activation)(x)

    def widen(images: Tensor, filters: int, pooled: bool) -> Tensor:
        """Applies a residual block that changes the number of channels."""
        x = activate(images)
        branch, shortcut = apply(x, filters), apply(x, filters)
        if pooled:
            branch, shortcut = _pool(branch, 2), _pool(shortcut, 2)
        return ConvexAdd()([shortcut, apply(activate(branch), filters)])

    def add_block(images: Tensor, filters: int) -> Tensor:
        branch = apply(activate(images), filters)
        return ConvexAdd()([images, apply(activate(branch), filters)])

    inputs = make_image_input(input_shape, 16)
    x = apply(inputs, width)
    for group, factor in enumerate(_GROUPS):
        filters = factor * widen_factor * width
        x = widen(x, filters, pooled=group > 0)
        for _ in range(num_blocks - 1):
            x = add_block(x, filters)
    x = keras.layers.Flatten("channels_last")(_pool(activate(x), 4))
    units = _GROUPS[-1] * widen_factor * width
    x = OrthogonalDense(units, parametrization=parametrization)(x)
    outputs = make_head(head, classes, parametrization)(activate(x))
    return LipschitzModel(inputs, outputs, name=name)


def _pool(images: Tensor, size: int) -> Tensor:
    return ScaledAveragePooling2D(size, data_format="channels_last")(images)


def _check_depth(depth: Any) -> int:
    depth = check_positive_integer("depth", depth)
    if depth < 10 or depth % 6 != 4:
        raise ValueError(
            "`depth` must be 10 or 6 more, 12 more and so on: four more than a "
            f"multiple of six. Received: depth={depth}"
        )
    return depth
