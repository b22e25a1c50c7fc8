"""Networks of block reflectors (BRONet)."""

import os
from collections.abc import Sequence

import keras

from keras_lip.applications.published_weights import with_weights
from keras_lip.applications.stem_and_neck import stack_image_blocks
from keras_lip.layers.convolutional.bro_conv2d import BROConv2D
from keras_lip.models.lipschitz_sequential import LipschitzSequential
from keras_lip.parametrizations import Parametrization
from keras_lip.types import Config


@with_weights
def BRONet(
    input_shape: Sequence[int] = (32, 32, 3),
    classes: int = 10,
    depth: int = 12,
    width: int = 512,
    rank_ratio: float = 0.5,
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
    """Makes a network of block reflectors (BRONet).

    It is a `keras_lip.applications.LiResNet` whose convolutions after the first
    are orthogonal: they use block reflectors of low rank. Only the norm of the
    first convolution is measured. This norm is
    `keras_lip.bounds.lipschitz_bound` of the network up to the head. On
    CIFAR-10 the network has 69 M parameters. The network for Tiny ImageNet has
    `depth=6`, `rank_ratio=1 / 8`, `dense_depth=4` and
    `parametrization=keras_lip.parametrizations.BlockReflector(1 / 8)`.

    Train it with `keras_lip.losses.LogitAnnealing`. The paper increases epsilon
    from a tenth of `36 / 255` to three times `36 / 255`.
    `keras_lip.callbacks.EpsilonScheduler` does this.

    The authors pad the inputs of each convolution with zeros and crop its
    outputs. Here the padding is circular, so that the convolutions preserve
    norms.

    Args:
        input_shape: Height, width and channels of an image. Sides must be
            multiples of `4 * stem_strides`. Defaults to `(32, 32, 3)`.
        classes: Positive integer. Number of outputs. Defaults to `10`.
        depth: Positive integer. Number of convolutions after the first.
            Defaults to `12`.
        width: Positive integer. Number of channels of the convolutions.
            Defaults to `512`.
        rank_ratio: Float, greater than 0 and at most 1. Fraction of the
            channels that a convolution reflects. Defaults to `0.5`.
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
        padding_mode: `"zeros"`, as in the paper, or `"circular"`. Padding of
            the first convolution. Defaults to `"zeros"`.
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

    >>> model = keras_lip.applications.BRONet(
    ...     (16, 16, 3), depth=2, width=4, dense_depth=1, units=8
    ... )
    >>> model.output_shape
    (None, 10)

    Reference:

    - [Lai et al., 2025](https://arxiv.org/abs/2505.15174), on the network
    """

    def make_convolution(depth: int, width: int) -> keras.layers.Layer:
        return BROConv2D(
            width,
            3,
            use_bias=not centering,
            kernel_initializer=keras.initializers.RandomNormal(
                0.0, 1 / (9 * width)
            ),
            rank_ratio=rank_ratio,
            residual_scale=depth**-0.5,
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
