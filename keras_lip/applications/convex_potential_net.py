"""The networks of convex potential layers."""

from collections.abc import Sequence
from typing import Any

from keras_lip.applications.blocks import get_size
from keras_lip.applications.blocks import stack_blocks
from keras_lip.layers.residual.convex_potential_conv2d import (
    ConvexPotentialConv2D,
)
from keras_lip.layers.residual.convex_potential_dense import (
    ConvexPotentialDense,
)
from keras_lip.models.lipschitz_sequential import LipschitzSequential


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
    name: str | None = None,
) -> LipschitzSequential:
    """Makes a residual network of convex potential layers (CPL).

    Channels of zeros are appended to the image, `depth` convolutional blocks
    follow, average pooling over windows of four by four that is scaled to be
    1-Lipschitz, `linear_depth` dense blocks, and the head:

    | size | `depth` | `channels` | `linear_depth` | parameters on CIFAR-10 |
    |------|---------|------------|----------------|------------------------|
    | S    | 20      | 45         | 7              | 41 M                   |
    | M    | 30      | 60         | 10             | 79 M                   |
    | L    | 50      | 90         | 10             | 118 M                  |
    | XL   | 70      | 120        | 15             | 236 M                  |

    The other numbers are the same in all sizes, and any of them can be given
    instead. Table 2 of the paper is of `depth=50`, `channels=90`,
    `linear_depth=15` and `hidden_units=4096`; section 5.4 goes to a depth of
    1000 with 30 channels.

    Up to the head the network is 1-Lipschitz in the l2 norm if the steps of its
    blocks are short enough. They follow from norms that are estimated from
    below: `keras_lip.bounds.lipschitz_bound` is of the steps that run, and
    exceeds that of the head by one or two percent for each convolutional block
    that is not trained yet, so that the bound of a deep network is loose.
    `SLLNet` estimates nothing. `keras_lip.models.fix_steps` returns a model of
    steps that are proven short enough.

    Very deep networks train without normalization or clipping of gradients.
    With biases of zero half of the hidden units are active at first, and each
    block contracts: hundreds of them take all images to nearly the same point,
    from where training does not start. With biases below zero, such as
    `keras.initializers.Constant(-0.5)`, blocks start near the identity.

    Args:
        size: `"S"`, `"M"`, `"L"` or `"XL"`: what the numbers are that are not
            given. Defaults to `"S"`.
        input_shape: Height, width and channels of an image. Sides must be
            multiples of four. Defaults to `(32, 32, 3)`.
        classes: Positive integer. Number of outputs. Defaults to `10`.
        depth: Positive integer. Number of convolutional blocks. Defaults to
            `None`.
        channels: Positive integer. Number of their channels, at least those of
            the image. Defaults to `None`.
        hidden_filters: Positive integer. Number of hidden channels of a
            convolutional block. Defaults to `5`.
        linear_depth: Positive integer. Number of dense blocks. Defaults to
            `None`.
        hidden_units: Positive integer. Number of hidden units of a dense block.
            Defaults to `2048`.
        step: Float, or `None`. Step of all blocks, if it is not to follow their
            kernels; see `keras_lip.layers.ConvexPotentialConv2D`. Defaults to
            `None`.
        padding_mode: `"zeros"`, as in the paper, or `"circular"`. Defaults to
            `"zeros"`.
        head: `"unit_norm"`, as in the paper; `"truncation"`, its first version,
            which keeps the first `classes` features; `"orthogonal"` or
            `"curvature"`. Defaults to `"unit_norm"`.
        bias_initializer: Initializer of the biases of all blocks. Defaults to
            `"zeros"`.
        scan_blocks: Boolean. Whether the blocks of each kind run as one loop, a
            `keras_lip.layers.LayerStack`, which is compiled once however deep
            the network is. The function is the same. Defaults to `False`.
        name: Name of the model. Defaults to `None`.

    Returns:
        A `keras_lip.models.LipschitzSequential`, not compiled.

    Raises:
        ValueError: If an argument is none of these, or the images do not fit.

    Example:

    >>> model = keras_lip.applications.ConvexPotentialNet(
    ...     input_shape=(8, 8, 3), depth=2, channels=4, hidden_filters=2,
    ...     linear_depth=1, hidden_units=8,
    ... )
    >>> model.output_shape
    (None, 10)

    Reference:

    - [Meunier et al., 2022](https://arxiv.org/abs/2110.12690), section 5
    """
    return stack_blocks(
        get_size(
            size, depth=depth, channels=channels, linear_depth=linear_depth
        ),
        lambda: ConvexPotentialConv2D(
            hidden_filters,
            3,
            step=step,
            padding_mode=padding_mode,
            data_format="channels_last",
            bias_initializer=bias_initializer,
        ),
        lambda: ConvexPotentialDense(
            hidden_units, step=step, bias_initializer=bias_initializer
        ),
        input_shape,
        classes,
        head,
        scan_blocks,
        name,
    )
