"""A residual network of orthogonal convolutions."""

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


@with_weights
def ResNet9(
    input_shape: Sequence[int] = (32, 32, 3),
    classes: int = 10,
    convolution: str = "cayley",
    activation: str = "max_min",
    parametrization: str = "cayley",
    head: str = "orthogonal",
    width: int = 64,
    units: int = 512,
    padding_mode: str = "circular",
    convolution_arguments: Mapping[str, Any] | None = None,
    name: str | None = None,
    weights: str | os.PathLike[str] | None = None,
) -> LipschitzModel:
    """Makes a network of eight convolutions, with two residual pairs.

    All convolutions have windows of 3 x 3. Four of them have `width`, `2 *
    width`, `4 * width` and `8 * width` channels. Average pooling over 2 x 2,
    scaled to be 1-Lipschitz, follows the second, the third, the fourth and the
    last convolution. After the first and the third pooling there is a residual
    pair of convolutions that keeps the channels; its inputs and outputs are
    added with trainable weights that sum to one. A dense layer of `units` and
    the head follow.

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
        width: Positive integer. Number of channels of the first convolution.
            Defaults to `64`.
        units: Positive integer. Number of units of the dense layer. Defaults to
            `512`.
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

    >>> model = keras_lip.applications.ResNet9((16, 16, 3), width=2, units=8)
    >>> model.output_shape
    (None, 10)

    Reference:

    - [Trockman & Kolter, 2021](https://arxiv.org/abs/2104.07167)
    """

    def block(x: Tensor, filters: int) -> Tensor:
        x = convolve(
            x, convolution, filters, 3, padding_mode, convolution_arguments
        )
        return make_activation(activation)(x)

    def residual(x: Tensor, filters: int) -> Tensor:
        return ConvexAdd()([x, block(block(x, filters), filters)])

    width = check_positive_integer("width", width)
    inputs = make_image_input(input_shape, 16)
    x = _pool(block(block(inputs, width), 2 * width))
    x = residual(x, 2 * width)
    x = _pool(block(x, 4 * width))
    x = _pool(block(x, 8 * width))
    x = residual(x, 8 * width)
    x = keras.layers.Flatten("channels_last")(_pool(x))
    x = OrthogonalDense(units, parametrization=parametrization)(x)
    x = make_activation(activation)(x)
    outputs = make_head(head, classes, parametrization)(x)
    return LipschitzModel(inputs, outputs, name=name)


def _pool(images: Tensor) -> Tensor:
    return ScaledAveragePooling2D(2, data_format="channels_last")(images)
