"""Networks of convex potential layers."""

import os
from collections.abc import Sequence
from typing import Any

from keras_lip.applications.blocks import get_size
from keras_lip.applications.blocks import stack_blocks
from keras_lip.applications.published_weights import with_weights
from keras_lip.layers.residual.convex_potential_conv2d import (
    ConvexPotentialConv2D,
)
from keras_lip.layers.residual.convex_potential_dense import (
    ConvexPotentialDense,
)
from keras_lip.models.lipschitz_sequential import LipschitzSequential


@with_weights
def ConvexPotentialNet(
    size: str = "S",
    input_shape: Sequence[int] = (32, 32, 3),
    classes: int = 10,
    depth: int | None = None,
    channels: int | None = None,
    hidden_filters: int = 5,
    linear_depth: int | None = None,
    hidden_units: int = 2048,
    step: float | None = None,
    padding_mode: str = "zeros",
    head: str = "unit_norm",
    bias_initializer: Any = "zeros",
    scan_blocks: bool = False,
    step_fraction: float = 1.0,
    name: str | None = None,
    weights: str | os.PathLike[str] | None = None,
) -> LipschitzSequential:
    """Makes a residual network of convex potential layers (CPL).

    The network consists of zero channels appended to the image, `depth`
    convolutional blocks, average pooling over windows of four by four that is
    scaled to be 1-Lipschitz, `linear_depth` dense blocks, and the head:

    | size | `depth` | `channels` | `linear_depth` | parameters on CIFAR-10 |
    |------|---------|------------|----------------|------------------------|
    | S    | 20      | 45         | 7              | 41 M                   |
    | M    | 30      | 60         | 10             | 79 M                   |
    | L    | 50      | 90         | 10             | 118 M                  |
    | XL   | 70      | 120        | 15             | 236 M                  |

    The other numbers are the same in all sizes. All numbers can be given
    explicitly. Table 2 of the paper uses `depth=50`, `channels=90`,
    `linear_depth=15` and `hidden_units=4096`, with the head `"truncation"`.
    Section 5.4 uses depths of up to 1000 with 30 channels.

    Without its head the network is 1-Lipschitz in the l2 norm if the steps of
    its blocks are short enough. The steps are computed from estimates of norms,
    which may be too small. `keras_lip.bounds.lipschitz_bound` uses the steps at
    inference. It exceeds the bound of the head by one or two percent for each
    untrained convolutional block, so the bound of a deep network is loose.
    `keras_lip.models.fix_steps` returns a model whose steps are proven to be
    short enough. `SLLNet` needs no estimates.

    Very deep networks train without normalization or gradient clipping. With
    zero biases half of the hidden units are initially active, and each block is
    a contraction. Hundreds of blocks then map all images to nearly the same
    point, and training does not progress. With negative biases, such as
    `keras.initializers.Constant(-0.5)`, blocks are initially close to the
    identity.

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
        step: Float, or `None`. A fixed step of all blocks, or `None` for steps
            that are computed from the kernels; see
            `keras_lip.layers.ConvexPotentialConv2D`. Defaults to `None`.
        padding_mode: `"zeros"`, as in the paper, or `"circular"`. Defaults to
            `"zeros"`.
        head: `"unit_norm"`; `"truncation"`, as in section 4.1 of the paper,
            which keeps the first `classes` features; `"orthogonal"` or
            `"curvature"`. Defaults to `"unit_norm"`, which is our choice: the
            authors' code has it, and no result of the paper uses it.
        bias_initializer: Initializer of the biases of all blocks. Defaults to
            `"zeros"`.
        scan_blocks: Boolean. Whether to run the blocks of each kind in a loop,
            a `keras_lip.layers.LayerStack`. Only one block is then compiled,
            for any depth. The network computes the same function. Defaults to
            `False`.
        step_fraction: Float in (0, 1]. Share of the longest step that all
            blocks take if `step` is `None`. With a share further below one than
            the estimates are below the norms, such as `0.95`, the bound of
            every block is one, up to rounding. Defaults to `1.0`.
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

    >>> model = keras_lip.applications.ConvexPotentialNet(
    ...     input_shape=(8, 8, 3), depth=2, channels=4, hidden_filters=2,
    ...     linear_depth=1, hidden_units=8,
    ... )
    >>> model.output_shape
    (None, 10)

    Reference:

    - [Meunier et al., 2022](https://arxiv.org/abs/2110.12690), sections 4.1
      and 5
    """
    return stack_blocks(
        get_size(
            size, depth=depth, channels=channels, linear_depth=linear_depth
        ),
        lambda: ConvexPotentialConv2D(
            hidden_filters,
            3,
            step=step,
            step_fraction=step_fraction,
            padding_mode=padding_mode,
            data_format="channels_last",
            bias_initializer=bias_initializer,
        ),
        lambda: ConvexPotentialDense(
            hidden_units,
            step=step,
            step_fraction=step_fraction,
            bias_initializer=bias_initializer,
        ),
        input_shape,
        classes,
        head,
        scan_blocks,
        name,
    )
