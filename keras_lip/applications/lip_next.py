"""Networks of shifts and orthogonal matrices (LipNeXt)."""

import os
from collections.abc import Sequence

import keras

from keras_lip.applications.image_input import check_image_shape
from keras_lip.applications.layers_by_name import make_head
from keras_lip.applications.published_weights import with_weights
from keras_lip.applications.stem_and_neck import repeat_block
from keras_lip.layers.core.orthogonal_dense import OrthogonalDense
from keras_lip.layers.pooling.global_l2_norm_pooling2d import (
    GlobalL2NormPooling2D,
)
from keras_lip.layers.reshaping.invertible_downsampling2d import (
    InvertibleDownsampling2D,
)
from keras_lip.layers.residual.lip_next_block import LipNeXtBlock
from keras_lip.models.lipschitz_sequential import LipschitzSequential
from keras_lip.parametrizations import Parametrization
from keras_lip.types import Config
from keras_lip.validation import check_positive_integer


@with_weights
def LipNeXt(
    input_shape: Sequence[int] = (32, 32, 3),
    classes: int = 10,
    depth: int = 32,
    width: int = 1024,
    patch_size: int = 2,
    beta: float = 0.5,
    ratio: float = 1 / 8,
    parametrization: str | Config | Parametrization = "cayley",
    padding_mode: str = "circular",
    head: str = "unit_norm",
    scan_blocks: bool = False,
    name: str | None = None,
    weights: str | os.PathLike[str] | None = None,
) -> LipschitzSequential:
    """Makes a network of shifts and orthogonal matrices (LipNeXt).

    An orthogonal matrix maps each patch of the image to a vector of `width`
    channels. Then follow `depth` blocks of shifts and matrices, see
    `keras_lip.layers.LipNeXtBlock`, the l2 norm of each channel over the image,
    and the head. There is no convolution. The published networks for CIFAR-10
    and CIFAR-100 have a depth of 32, and their names contain the depth and the
    width:

    | network    | `width` | parameters          |
    |------------|---------|---------------------|
    | L32W1024   | 1024    | 67 M, `64 * 2**20`  |
    | L32W2048   | 2048    | 268 M, `256 * 2**20`|

    Up to the head the network is 1-Lipschitz in the l2 norm, and it preserves
    the norm of gradients after its first matrix.

    The authors train the matrices on the manifold of orthogonal matrices. Here
    a parametrization computes them from free matrices in every training step.
    The patches are our choice: we do not know how the paper processes the image
    before the first block.

    Args:
        input_shape: Height, width and channels of an image. Sides must be
            multiples of `patch_size` and at least `2 * patch_size`. Defaults to
            `(32, 32, 3)`.
        classes: Positive integer. Number of outputs. Defaults to `10`.
        depth: Positive integer. Number of blocks. Defaults to `32`.
        width: Positive integer, at least 4. Number of channels. Defaults to
            `1024`.
        patch_size: Positive integer. Sides of a patch. Defaults to `2`.
        beta: Float between 0 and 1. Fraction of the channels of which the
            activation takes the absolute value. Defaults to `0.5`.
        ratio: Float, greater than 0 and at most 1 / 4. Fraction of the channels
            that is shifted in each of the four directions. The paper uses an
            eighth or a sixteenth. Defaults to `1 / 8`.
        parametrization: Orthogonal parametrization of the matrices. Defaults to
            `"cayley"`.
        padding_mode: `"circular"`, as in the paper, or `"zeros"`. Padding of
            the shifts. Defaults to `"circular"`.
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

    >>> model = keras_lip.applications.LipNeXt((8, 8, 3), depth=2, width=8)
    >>> model.output_shape
    (None, 10)

    Reference:

    - [Hu et al., 2026](https://arxiv.org/abs/2601.18513), on the network
    """
    for key, value in {
        "depth": depth,
        "width": width,
        "patch_size": patch_size,
    }.items():
        check_positive_integer(key, value)

    def make_block() -> list[keras.layers.Layer]:
        return [
            LipNeXtBlock(
                beta,
                ratio,
                parametrization=parametrization,
                padding_mode=padding_mode,
                data_format="channels_last",
            )
        ]

    patches = InvertibleDownsampling2D(patch_size, data_format="channels_last")
    return LipschitzSequential(
        [
            keras.Input(check_image_shape(input_shape, patch_size)),
            *([patches] if patch_size > 1 else []),
            OrthogonalDense(width, parametrization=parametrization),
            *repeat_block(make_block, depth, scan_blocks),
            GlobalL2NormPooling2D(data_format="channels_last"),
            make_head(head, classes),
        ],
        name=name,
    )
