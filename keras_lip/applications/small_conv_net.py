"""The smaller of the two networks used to compare convolutions."""

import os
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
from keras_lip.layers.core.orthogonal_dense import OrthogonalDense
from keras_lip.models.lipschitz_model import LipschitzModel
from keras_lip.validation import check_positive_integer


@with_weights
def SmallConvNet(
    input_shape: Sequence[int] = (32, 32, 3),
    classes: int = 10,
    convolution: str = "bcop",
    activation: str = "max_min",
    parametrization: str = "cayley",
    head: str = "orthogonal",
    width: int = 16,
    units: int = 100,
    padding_mode: str = "circular",
    convolution_arguments: Mapping[str, Any] | None = None,
    name: str | None = None,
    weights: str | os.PathLike[str] | None = None,
) -> LipschitzModel:
    """Makes the "Small" network: two convolutions and two dense layers.

    The convolutions have windows of 4 x 4 with strides of two, and `width` and
    `2 * width` channels. Each is implemented as an invertible downsampling by
    two and a window of 2 x 2 on the blocks (3 x 3 for `"soc"`, which needs an
    odd window). A dense layer of `units` and the head follow. With explicit
    kernels the network has the same size as in Wong et al.: 166 406 parameters
    on MNIST and 214 918 on CIFAR-10.

    Without its head the network is 1-Lipschitz in the l2 norm. With the head
    `"orthogonal"` the whole network is: `keras_lip.bounds.lipschitz_bound` is
    at most one, up to rounding and up to the errors of the estimates of
    `"ossn"`, `"svcm"` and `"convex_potential"`, which the bound includes.

    Args:
        input_shape: Height, width and channels of an image. Sides must be
            multiples of four. Defaults to `(32, 32, 3)`.
        classes: Positive integer. Number of outputs. Defaults to `10`.
        convolution: `"bcop"`, `"aol"`, `"bro"`, `"cayley"`, `"lot"`, `"ossn"`,
            `"rko"`, `"soc"` or `"svcm"`, or the residual blocks
            `"convex_potential"` or `"sll"`. Defaults to `"bcop"`.
        activation: `"max_min"`, as in the paper, `"absolute_value"`,
            `"beta_abs"`, `"full_sort"`, `"group_sort"` (of pairs),
            `"householder"` or `"relu"`. Defaults to `"max_min"`.
        parametrization: Orthogonal parametrization of the dense layers. In the
            paper it is `"bjorck"`. Defaults to `"cayley"`, which is our choice.
        head: `"orthogonal"`, as in the paper, `"unit_norm"`, `"curvature"` or
            `"truncation"`. Defaults to `"orthogonal"`.
        width: Positive integer. Number of channels of the first convolution.
            Defaults to `16`.
        units: Positive integer. Number of units of the dense layer. Defaults to
            `100`.
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

    >>> model = keras_lip.applications.SmallConvNet((28, 28, 1))
    >>> model.output_shape
    (None, 10)

    Reference:

    - [Wong et al., 2018](https://arxiv.org/abs/1805.12514), for the sizes
    - [Li et al., 2019](https://arxiv.org/abs/1911.00937), section 5.1 and
      table 1
    """
    width = check_positive_integer("width", width)
    inputs = x = make_image_input(input_shape, 4)
    for filters in (width, 2 * width):
        x = convolve(
            downsample(x),
            convolution,
            filters,
            2,
            padding_mode,
            convolution_arguments,
        )
        x = make_activation(activation)(x)
    x = keras.layers.Flatten("channels_last")(x)
    x = OrthogonalDense(units, parametrization=parametrization)(x)
    x = make_activation(activation)(x)
    outputs = make_head(head, classes, parametrization)(x)
    return LipschitzModel(inputs, outputs, name=name)
