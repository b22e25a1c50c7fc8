"""The networks of SDP-based Lipschitz layers."""

from collections.abc import Sequence

from keras_lip.applications.blocks import get_size
from keras_lip.applications.blocks import stack_blocks
from keras_lip.layers.residual.sll_conv2d import SLLConv2D
from keras_lip.layers.residual.sll_dense import SLLDense
from keras_lip.models.lipschitz_sequential import LipschitzSequential


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
) -> LipschitzSequential:
    """Makes a residual network of SDP-based Lipschitz layers (SLL).

    The network is that of `ConvexPotentialNet`, in the same sizes, but for its
    blocks. Up to the head it is 1-Lipschitz in the l2 norm by construction:
    nothing is estimated, and `keras_lip.bounds.lipschitz_bound` is that of the
    head, but for rounding.

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
        padding_mode: `"zeros"`, as in the authors' code, or `"circular"`.
            Defaults to `"zeros"`.
        head: `"unit_norm"`, as in the paper, `"truncation"`, `"orthogonal"` or
            `"curvature"`. Defaults to `"unit_norm"`.
        scan_blocks: Boolean. Whether the blocks of each kind run as one loop, a
            `keras_lip.layers.LayerStack`, which is compiled once however deep
            the network is. The function is the same. Defaults to `False`.
        name: Name of the model. Defaults to `None`.

    Returns:
        A `keras_lip.models.LipschitzSequential`, not compiled.

    Raises:
        ValueError: If an argument is none of these, or the images do not fit.

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
