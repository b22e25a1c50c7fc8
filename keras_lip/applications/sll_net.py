"""Networks of SDP-based Lipschitz layers."""

import os
from collections.abc import Sequence

from keras_lip.applications.blocks import get_size
from keras_lip.applications.blocks import stack_blocks
from keras_lip.applications.published_weights import with_weights
from keras_lip.layers.residual.sll_conv2d import SLLConv2D
from keras_lip.layers.residual.sll_dense import SLLDense
from keras_lip.models.lipschitz_sequential import LipschitzSequential


@with_weights
def SLLNet(
    size: str = "S",
    input_shape: Sequence[int] = (32, 32, 3),
    classes: int = 10,
    depth: int | None = None,
    channels: int | None = None,
    hidden_filters: int = 5,
    linear_depth: int | None = None,
    hidden_units: int = 2048,
    padding_mode: str = "zeros",
    head: str = "unit_norm",
    scan_blocks: bool = False,
    name: str | None = None,
    weights: str | os.PathLike[str] | None = None,
) -> LipschitzSequential:
    """Makes a residual network of SDP-based Lipschitz layers (SLL).

    The network is a `ConvexPotentialNet` of the same size with other blocks.
    Without its head it is 1-Lipschitz in the l2 norm by construction. Nothing
    is estimated, so `keras_lip.bounds.lipschitz_bound` is the bound of the
    head, up to rounding.

    Args:
        size: `"S"`, `"M"`, `"L"` or `"XL"`. Determines `depth`, `channels` and
            `linear_depth` if they are not given. Defaults to `"S"`.
        input_shape: Height, width and channels of an image. Sides must be
            multiples of four. Defaults to `(32, 32, 3)`.
        classes: Positive integer. Number of outputs. Defaults to `10`.
        depth: Positive integer. Number of convolutional blocks. Defaults to
            `None`, for the number of `size`.
        channels: Positive integer. Number of channels, at least the channels of
            the image. Defaults to `None`, for the number of `size`.
        hidden_filters: Positive integer. Number of hidden channels of a
            convolutional block. Defaults to `5`.
        linear_depth: Positive integer. Number of dense blocks. Defaults to
            `None`, for the number of `size`.
        hidden_units: Positive integer. Number of hidden units of a dense block.
            Defaults to `2048`.
        padding_mode: `"zeros"`, as in the authors' code, or `"circular"`.
            Defaults to `"zeros"`.
        head: `"unit_norm"`, as in the paper, `"truncation"`, `"orthogonal"` or
            `"curvature"`. Defaults to `"unit_norm"`.
        scan_blocks: Boolean. Whether to run the blocks of each kind in a loop,
            a `keras_lip.layers.LayerStack`. Only one block is then compiled,
            for any depth. The network computes the same function. Defaults to
            `False`.
        name: Name of the model. Defaults to `None`.
        weights: Name of trained weights that `list_weights` lists, which also
            set the other arguments, or the path of a `.weights.h5` file.
            Defaults to `None`, for a random start.

    Returns:
        A `keras_lip.models.LipschitzSequential`, not compiled.

    Raises:
        ValueError: If an argument is invalid, or `input_shape` does not fit the
            network.

    Example:

    >>> model = keras_lip.applications.SLLNet(
    ...     input_shape=(8, 8, 3), depth=2, channels=4, hidden_filters=2,
    ...     linear_depth=1, hidden_units=8,
    ... )
    >>> model.output_shape
    (None, 10)

    Reference:

    - [Araujo et al., 2023](https://arxiv.org/abs/2303.03169)
    """
    return stack_blocks(
        get_size(
            size, depth=depth, channels=channels, linear_depth=linear_depth
        ),
        lambda: SLLConv2D(
            hidden_filters,
            3,
            padding_mode=padding_mode,
            data_format="channels_last",
        ),
        lambda: SLLDense(hidden_units),
        input_shape,
        classes,
        head,
        scan_blocks,
        name,
    )
