"""Networks of hybrid flows: convex potentials and rotations."""

import os
from collections.abc import Sequence
from typing import Any

from keras_lip.applications.blocks import get_size
from keras_lip.applications.blocks import stack_blocks
from keras_lip.applications.published_weights import with_weights
from keras_lip.layers.residual.convex_potential_dense import (
    ConvexPotentialDense,
)
from keras_lip.layers.residual.skew_flow_conv2d import SkewFlowConv2D
from keras_lip.models.lipschitz_sequential import LipschitzSequential


@with_weights
def HybridFlowNet(
    size: str = "S",
    input_shape: Sequence[int] = (32, 32, 3),
    classes: int = 10,
    depth: int | None = None,
    channels: int | None = None,
    hidden_filters: int = 5,
    linear_depth: int | None = None,
    hidden_units: int = 2048,
    step: float | None = None,
    padding_mode: str = "circular",
    head: str = "unit_norm",
    bias_initializer: Any = "zeros",
    scan_blocks: bool = False,
    step_fraction: float = 1.0,
    flow: str = "midpoint",
    generator_initializer: Any = "orthogonal",
    name: str | None = None,
    weights: str | os.PathLike[str] | None = None,
) -> LipschitzSequential:
    """Makes a residual network of convex potentials and rotations.

    The network is a `ConvexPotentialNet` of the same size whose convolutional
    blocks are `SkewFlowConv2D`: each step down a convex potential is followed
    by the flow of a skew-symmetric convolution, which is orthogonal. A convex
    potential alone can only move points towards each other; the rotation mixes
    channels and pixels and keeps all distances. The rotation of a block has `9
    channels^2` weights:

    | size | `depth` | `channels` | `linear_depth` | parameters on CIFAR-10 |
    |------|---------|------------|----------------|------------------------|
    | S    | 20      | 45         | 7              | 42 M                   |
    | M    | 30      | 60         | 10             | 80 M                   |
    | L    | 50      | 90         | 10             | 122 M                  |
    | XL   | 70      | 120        | 15             | 245 M                  |

    The sizes are those of the convex potential networks. The slides describe
    the scheme and publish no network of it. The dense blocks remain
    `ConvexPotentialDense`: a rotation of all features would have as many
    weights as their number squared.

    Without its head the network is 1-Lipschitz in the l2 norm if the steps of
    its blocks are short enough. The steps are computed from estimates of norms,
    which may be too small. `keras_lip.bounds.lipschitz_bound` uses the steps at
    inference, and `keras_lip.models.fix_steps` returns a model whose steps are
    proven to be short enough. With a `step_fraction` below one half each block
    is injective. For the flow `"exponential"` with circular padding this is
    proven: `keras_lip.bounds.contraction_bound` of the convolutional blocks is
    about `(1 - 2 * step_fraction)^depth`.

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
        step: Float, or `None`. A fixed step of all potentials, or `None` for
            steps that are computed from the kernels; see
            `keras_lip.layers.SkewFlowConv2D`. Defaults to `None`.
        padding_mode: `"circular"`, or `"zeros"` with the flow `"exponential"`.
            Defaults to `"circular"`.
        head: `"unit_norm"`, `"truncation"`, which keeps the first `classes`
            features, `"orthogonal"` or `"curvature"`. Defaults to
            `"unit_norm"`.
        bias_initializer: Initializer of the biases of all blocks. Defaults to
            `"zeros"`.
        scan_blocks: Boolean. Whether to run the blocks of each kind in a loop,
            a `keras_lip.layers.LayerStack`. Only one block is then compiled,
            for any depth. The network computes the same function. Defaults to
            `False`.
        step_fraction: Float in (0, 1]. Share of the longest step that all
            blocks take if `step` is `None`. Defaults to `1.0`.
        flow: `"midpoint"`, the Cayley transform, or `"exponential"`.
            Discretization of the flow of the skew-symmetric convolutions.
            Defaults to `"midpoint"`.
        generator_initializer: Initializer of the free kernels of the
            skew-symmetric convolutions. With `"zeros"` the network is initially
            a `ConvexPotentialNet`. Defaults to `"orthogonal"`.
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

    >>> model = keras_lip.applications.HybridFlowNet(
    ...     input_shape=(8, 8, 3), depth=2, channels=4, hidden_filters=2,
    ...     linear_depth=1, hidden_units=8,
    ... )
    >>> model.output_shape
    (None, 10)

    Reference:

    - [Meunier et al., 2022](https://arxiv.org/abs/2110.12690), slides "A
      Dynamical System Perspective for Lipschitz Neural Networks", for the
      hybrid schemes; the paper, sections 4.1 and 5, for the rest
    """
    return stack_blocks(
        get_size(
            size, depth=depth, channels=channels, linear_depth=linear_depth
        ),
        lambda: SkewFlowConv2D(
            hidden_filters,
            3,
            step=step,
            step_fraction=step_fraction,
            padding_mode=padding_mode,
            flow=flow,
            generator_initializer=generator_initializer,
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
