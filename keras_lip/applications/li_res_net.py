"""Linear residual networks (LiResNet), whose norms are measured."""

import os
from collections.abc import Sequence

import keras

from keras_lip.applications.published_weights import with_weights
from keras_lip.applications.stem_and_neck import stack_image_blocks
from keras_lip.layers.residual.lipschitz_residual_conv2d import (
    LipschitzResidualConv2D,
)
from keras_lip.models.lipschitz_sequential import LipschitzSequential
from keras_lip.parametrizations import Parametrization
from keras_lip.types import Config


@with_weights
def LiResNet(
    input_shape: Sequence[int] = (32, 32, 3),
    classes: int = 10,
    depth: int = 12,
    width: int = 512,
    dense_depth: int = 8,
    units: int = 2048,
    activation: str = "max_min",
    centering: bool = True,
    parametrization: str | Config | Parametrization = "cholesky",
    stem_size: int = 5,
    stem_strides: int = 2,
    padding_mode: str = "zeros",
    head: str = "unit_norm",
    scan_blocks: bool = False,
    name: str | None = None,
    weights: str | os.PathLike[str] | None = None,
) -> LipschitzSequential:
    """Makes a linear residual network (LiResNet).

    The network consists of a convolution with strides, `depth` linear residual
    convolutions `x + W x / sqrt(depth)`, an orthogonal neck and `dense_depth`
    orthogonal dense layers near the identity. The neck maps each block of four
    by four pixels to one pixel, and then all pixels to one vector. Pixel values
    must be between zero and one; the network first subtracts one half. On
    CIFAR-10 the network has 83 M parameters.

    **The network is not 1-Lipschitz.** The norms of its convolutions are not
    constrained to one. `keras_lip.bounds.lipschitz_bound` is the product of
    proven bounds on these norms, and certificates use this product. Train the
    network with a loss that lowers the product, such as
    `keras_lip.losses.EMMA`. The paper increases epsilon from a tenth of `36 /
    255` to three times `36 / 255`. `keras_lip.callbacks.EpsilonScheduler` does
    this. On two cores the proof of one of its convolutions takes about half a
    second at 64 channels and six seconds at 256. Certified metrics repeat the
    proof at every evaluation. For wide networks, do not use them during
    training, and certify at the end.

    The authors center only the residual. Here the sum of the input and the
    residual is centered.

    Args:
        input_shape: Height, width and channels of an image. Sides must be
            multiples of `4 * stem_strides`. Defaults to `(32, 32, 3)`.
        classes: Positive integer. Number of outputs. Defaults to `10`.
        depth: Positive integer. Number of convolutions after the first.
            Defaults to `12`.
        width: Positive integer. Number of channels of the convolutions.
            Defaults to `512`.
        dense_depth: Positive integer. Number of dense layers after the neck.
            Defaults to `8`.
        units: Positive integer. Number of units of the dense layers. Defaults
            to `2048`.
        activation: `"max_min"`, as in the papers, `"absolute_value"`,
            `"beta_abs"`, `"full_sort"`, `"group_sort"` (of pairs),
            `"householder"` or `"relu"`. Defaults to `"max_min"`.
        centering: Boolean. Whether a `keras_lip.layers.BatchCentering` follows
            each convolution after the first. Defaults to `True`.
        parametrization: Orthogonal parametrization of the neck and the dense
            layers. Defaults to `"cholesky"`, as in the papers.
        stem_size: Positive integer. Window size of the first convolution.
            Defaults to `5`.
        stem_strides: Positive integer. Strides of the first convolution.
            Defaults to `2`.
        padding_mode: `"zeros"`, as in the papers, or `"circular"`. Defaults to
            `"zeros"`.
        head: `"unit_norm"`, as in the papers, `"orthogonal"`, `"truncation"` or
            `"curvature"`. Defaults to `"unit_norm"`.
        scan_blocks: Boolean. Whether the blocks of each kind run as one loop, a
            `keras_lip.layers.LayerStack`. The loop body is compiled once, for
            any depth of the network. The network computes the same function.
            Defaults to `False`.
        name: Name of the model. Defaults to `None`.
        weights: Name of trained weights that `list_weights` lists, which also
            set the other arguments, or the path of a `.weights.h5` file.
            Defaults to `None`, for a random start.

    Returns:
        A `keras_lip.models.LipschitzSequential`, not compiled.

    Raises:
        ValueError: If an argument is invalid, or the sides of the images are
            not such multiples.

    Example:

    >>> model = keras_lip.applications.LiResNet(
    ...     (16, 16, 3), depth=2, width=4, dense_depth=1, units=8
    ... )
    >>> model.output_shape
    (None, 10)

    Reference:

    - [Hu et al., 2023](https://arxiv.org/abs/2301.12549), on the network
    - [Hu et al., 2024](https://arxiv.org/abs/2310.02513), on the neck and the
      dense layers
    """

    def make_convolution(depth: int, width: int) -> keras.layers.Layer:
        return LipschitzResidualConv2D(
            width,
            3,
            use_bias=not centering,
            kernel_initializer=keras.initializers.RandomNormal(
                0.0, 1 / (9 * width)
            ),
            padding_mode=padding_mode,
            scale=depth**-0.5,
            data_format="channels_last",
        )

    return stack_image_blocks(
        make_convolution,
        input_shape=input_shape,
        classes=classes,
        depth=depth,
        width=width,
        dense_depth=dense_depth,
        units=units,
        activation=activation,
        centering=centering,
        parametrization=parametrization,
        stem_size=stem_size,
        stem_strides=stem_strides,
        padding_mode=padding_mode,
        head=head,
        scan_blocks=scan_blocks,
        name=name,
    )
