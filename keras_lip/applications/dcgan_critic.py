"""A critic of images for Wasserstein distances."""

import os
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras

from keras_lip.applications.image_input import make_image_input
from keras_lip.applications.layers_by_name import convolve
from keras_lip.applications.layers_by_name import downsample
from keras_lip.applications.layers_by_name import make_activation
from keras_lip.applications.published_weights import with_weights
from keras_lip.layers.core.unit_norm_dense import UnitNormDense
from keras_lip.models.lipschitz_model import LipschitzModel
from keras_lip.validation import check_positive_integer


@with_weights
def DCGANCritic(
    input_shape: Sequence[int] = (64, 64, 3),
    convolution: str = "bcop",
    activation: str = "max_min",
    width: int = 64,
    padding_mode: str = "circular",
    convolution_arguments: Mapping[str, Any] | None = None,
    name: str | None = None,
    weights: str | os.PathLike[str] | None = None,
) -> LipschitzModel:
    """Makes the critic of DCGAN, 1-Lipschitz and without normalization.

    Four convolutions with windows of 4 x 4 and strides of two have `width`, `2
    * width`, `4 * width` and `8 * width` channels. Each is implemented as an
    invertible downsampling by two and a window of 2 x 2 on the blocks (3 x 3
    for `"soc"`, which needs an odd window). The last layer is a dense layer
    with one unit of norm one on the flattened image.

    The critic is 1-Lipschitz in the l2 norm. The difference of its mean outputs
    on two distributions is therefore a lower bound on their Wasserstein-1
    distance, up to sampling errors. `keras_lip.bounds.lipschitz_bound` is at
    most one, up to rounding and up to the errors of the estimates of `"ossn"`,
    `"svcm"` and `"convex_potential"`, which the bound includes. Divide the
    difference by this bound. Train the critic with
    `keras_lip.losses.KantorovichRubinstein`.

    Args:
        input_shape: Height, width and channels of an image. Sides must be
            multiples of 16. Defaults to `(64, 64, 3)`.
        convolution: `"bcop"`, `"aol"`, `"bro"`, `"cayley"`, `"lot"`, `"ossn"`,
            `"rko"`, `"soc"` or `"svcm"`, or the residual blocks
            `"convex_potential"` or `"sll"`. Defaults to `"bcop"`.
        activation: `"max_min"`, `"absolute_value"`, `"beta_abs"`,
            `"full_sort"`, `"group_sort"` (of pairs), `"householder"` or
            `"relu"`. Defaults to `"max_min"`.
        width: Positive integer. Number of channels of the first convolution.
            Defaults to `64`.
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
        A `keras_lip.models.LipschitzModel` with one output, not compiled.

    Raises:
        ValueError: If an argument is invalid, or `input_shape` does not fit the
            network.

    Example:

    >>> model = keras_lip.applications.DCGANCritic((16, 16, 3), width=2)
    >>> model.output_shape
    (None, 1)

    Reference:

    - [Radford et al., 2015](https://arxiv.org/abs/1511.06434), for the
      discriminator
    - [Li et al., 2019](https://arxiv.org/abs/1911.00937), section 5.3 and
      table 4
    """
    width = check_positive_integer("width", width)
    inputs = x = make_image_input(input_shape, 16)
    for factor in (1, 2, 4, 8):
        x = convolve(
            downsample(x),
            convolution,
            factor * width,
            2,
            padding_mode,
            convolution_arguments,
        )
        x = make_activation(activation)(x)
    outputs = UnitNormDense(1)(keras.layers.Flatten("channels_last")(x))
    return LipschitzModel(inputs, outputs, name=name)
