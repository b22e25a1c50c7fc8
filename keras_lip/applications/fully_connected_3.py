"""The dense network that convolutional networks are compared with."""

import os
from collections.abc import Sequence

import keras

from keras_lip.applications.layers_by_name import make_activation
from keras_lip.applications.layers_by_name import make_head
from keras_lip.applications.published_weights import with_weights
from keras_lip.layers.core.orthogonal_dense import OrthogonalDense
from keras_lip.models.lipschitz_model import LipschitzModel
from keras_lip.validation import check_positive_integer


@with_weights
def FullyConnected3(
    input_shape: Sequence[int] = (32, 32, 3),
    classes: int = 10,
    activation: str = "group_sort",
    parametrization: str = "cayley",
    head: str = "orthogonal",
    units: int = 1024,
    name: str | None = None,
    weights: str | os.PathLike[str] | None = None,
) -> LipschitzModel:
    """Makes the "FC-3" network: three orthogonal dense layers and a head.

    Without its head the network is 1-Lipschitz in the l2 norm, and preserves
    the norm of gradients in layers that do not increase the dimension. With the
    head `"orthogonal"` the whole network is 1-Lipschitz:
    `keras_lip.bounds.lipschitz_bound` is one up to rounding.

    Args:
        input_shape: Shape of an input of any rank. Inputs are flattened.
            Defaults to `(32, 32, 3)`.
        classes: Positive integer. Number of outputs. Defaults to `10`.
        activation: `"group_sort"` (of pairs), as in the papers,
            `"absolute_value"`, `"beta_abs"`, `"full_sort"`, `"householder"`,
            `"max_min"` or `"relu"`. Defaults to `"group_sort"`.
        parametrization: Orthogonal parametrization of the dense layers. In the
            papers it is `"bjorck"`. Defaults to `"cayley"`, which is our
            choice.
        head: `"orthogonal"`, as in the papers, `"unit_norm"`, `"curvature"` or
            `"truncation"`. Defaults to `"orthogonal"`.
        units: Positive integer. Number of units of each layer. Defaults to
            `1024`.
        name: Name of the model. Defaults to `None`.
        weights: Name of trained weights that `list_weights` lists, which also
            set the other arguments, or the path of a `.weights.h5` file.
            Defaults to `None`, for a random start.

    Returns:
        A `keras_lip.models.LipschitzModel`, not compiled.

    Raises:
        ValueError: If an argument is invalid.

    Example:

    >>> model = keras_lip.applications.FullyConnected3((8, 8, 1), units=32)
    >>> model.output_shape
    (None, 10)

    Reference:

    - [Anil et al., 2019](https://arxiv.org/abs/1811.05381)
    - [Li et al., 2019](https://arxiv.org/abs/1911.00937), table 2
    """
    if not isinstance(input_shape, Sequence) or not input_shape:
        raise ValueError(
            "`input_shape` must be a tuple of positive integers, without a "
            f"batch axis. Received: input_shape={input_shape!r}"
        )
    inputs = keras.Input(
        [check_positive_integer("input_shape", size) for size in input_shape]
    )
    x = keras.layers.Flatten("channels_last")(inputs)
    for _ in range(3):
        x = OrthogonalDense(units, parametrization=parametrization)(x)
        x = make_activation(activation)(x)
    outputs = make_head(head, classes, parametrization)(x)
    return LipschitzModel(inputs, outputs, name=name)
