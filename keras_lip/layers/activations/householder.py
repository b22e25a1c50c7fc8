"""Reflections of pairs of channels about trainable lines."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lip.layers.activations.channel_groups import channel_shape
from keras_lip.layers.activations.channel_groups import check_channels
from keras_lip.layers.activations.channel_groups import check_groups
from keras_lip.layers.activations.channel_groups import merge_groups
from keras_lip.layers.activations.channel_groups import split_groups
from keras_lip.layers.lipschitz_layer import LipschitzLayer
from keras_lip.program.builder import Wire
from keras_lip.program.freezing.reading import sample_axis
from keras_lip.program.nodes.sorting import Fold
from keras_lip.read_weight import read_kernel
from keras_lip.types import Array
from keras_lip.types import Config
from keras_lip.types import Shape
from keras_lip.types import Tensor
from keras_lip.validation import check_integer

# The first fold is then `MaxMin`. The line of the second fold is orthogonal to
# the first line.
_INITIAL_ANGLES = (math.pi / 2, 3 * math.pi / 2)


@keras.saving.register_keras_serializable(package="keras_lip")
class Householder(LipschitzLayer):
    """Folds each pair of neighbouring channels along a trainable line.

    The channels `2 i` and `2 i + 1` are a point `z` of the plane. With the unit
    normal `v = (sin(theta / 2), -cos(theta / 2))` the layer computes `z - 2
    min(v . z, 0) v`: it keeps the points on one side of a line through the
    origin and reflects the points on the other side. This function is
    continuous, and on each side it is the identity or a reflection. It is
    therefore 1-Lipschitz in the l2 norm and preserves the norm of the gradient.
    With the initial `theta = pi / 2` the layer is `MaxMin`.

    With `order=2` the remaining half-plane is folded again, along a second line
    that is initially orthogonal to the first. On each of the four sectors of
    the plane the layer is the identity, a reflection, or a product of two
    reflections.

    The length of a rounded `v` is not exactly one, so one side is stretched by
    `|2 |v|^2 - 1|`. `lipschitz_bound` is computed from the rounded normals.

    Args:
        order: Integer, 1 or 2. Number of folds. Each fold has one trainable
            angle for each pair. Defaults to `1`.
        axis: Integer. The channel axis. Defaults to `-1`, the last axis.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        ValueError: If `order` is neither 1 nor 2, or the number of channels is
            odd.

    Input shape:
        Arbitrary, with a batch axis first.

    Output shape:
        Same as the input.

    Example:

    >>> layer = keras_lip.layers.Householder()
    >>> outputs = layer(np.array([[1.0, 3.0]]))
    >>> keras.ops.convert_to_numpy(outputs).round(3).tolist()
    [[3.0, 1.0]]

    Reference:

    - [Singla et al., 2022](https://arxiv.org/abs/2108.04062), for order one and
      for why neighbouring pieces of a continuous gradient norm preserving
      function must differ by a reflection
    """

    guarantee = "gradient norm preserving"

    def __init__(self, order: int = 1, axis: int = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if isinstance(order, bool) or order not in (1, 2):
            raise ValueError(f"`order` must be 1 or 2. Received: order={order}")
        self.order = order
        self.axis = check_integer("axis", axis)

    def build(self, input_shape: Shape) -> None:
        check_groups(self, input_shape, self.axis, group_size=2)
        channels = check_channels(self, input_shape, self.axis)
        # The angles stay in float32 under mixed precision, like a free kernel.
        self.theta = self.add_weight(
            name="theta",
            shape=(self.order, channels // 2),
            initializer=_initialize_angles,
            autocast=False,
        )
        self.input_spec = keras.layers.InputSpec(
            ndim=len(input_shape), axes={self.axis: channels}
        )

    def _compute_normals(self) -> Tensor:
        """Returns the normals, of shape `(order, 2, channels // 2)`."""
        half = ops.convert_to_tensor(self.theta) / 2
        return ops.stack([ops.sin(half), -ops.cos(half)], axis=1)

    def call(self, inputs: Tensor) -> Tensor:
        normals = ops.cast(self._compute_normals(), inputs.dtype)
        shape = channel_shape(len(inputs.shape), self.axis)
        normals = ops.reshape(normals, (self.order, 2, *shape))
        return self._fold(inputs, normals)

    def _fold(self, inputs: Tensor, normals: Tensor | Array) -> Tensor:
        pairs, axis = split_groups(inputs, self.axis, group_size=2)
        first, second = ops.unstack(pairs, axis=axis)
        for order in range(self.order):
            v, w = normals[order, 0], normals[order, 1]
            # This formula is continuous for any normal. Choosing between the
            # input and its reflection would not be continuous for a rounded
            # normal.
            twice = 2 * ops.minimum(first * v + second * w, 0)
            first, second = first - twice * v, second - twice * w
        return merge_groups(ops.stack([first, second], axis=axis), inputs)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def freeze(self, *inputs: Wire) -> Wire:
        (x,) = inputs
        for normals in read_kernel(self, self._compute_normals()):
            x = x.then(Fold(normals, sample_axis(x, self.axis)))
        return x

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "order": self.order,
            "axis": self.axis,
        }


def _initialize_angles(shape: tuple[int, ...], dtype: Any = None) -> Tensor:
    angles = np.array(_INITIAL_ANGLES[: shape[0]])[:, np.newaxis]
    return ops.convert_to_tensor(np.broadcast_to(angles, shape), dtype=dtype)
