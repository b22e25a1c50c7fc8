"""Sorting of groups of channels."""

from typing import Any

import keras
from keras import ops

from keras_lip.layers.activations.channel_groups import check_groups
from keras_lip.layers.activations.channel_groups import merge_groups
from keras_lip.layers.activations.channel_groups import split_groups
from keras_lip.layers.activations.sort_pairs import sort_pairs
from keras_lip.layers.lipschitz_layer import LipschitzLayer
from keras_lip.program.builder import Wire
from keras_lip.program.freezing.reading import sample_axis
from keras_lip.program.nodes.sorting import Sort
from keras_lip.proofs.norms import NORMS
from keras_lip.types import Config
from keras_lip.types import Shape
from keras_lip.types import Tensor
from keras_lip.validation import check_integer
from keras_lip.validation import check_positive_integer


@keras.saving.register_keras_serializable(package="keras_lip")
class GroupSort(LipschitzLayer):
    """Sorts each group of consecutive channels in ascending order.

    The layer permutes its input, so it is 1-Lipschitz in every norm and
    preserves the norm of the gradient.

    Args:
        group_size: Integer of at least two that divides the number of channels.
            Defaults to `2`.
        axis: Integer. The channel axis. Defaults to `-1`, the last axis.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        ValueError: If `group_size` is less than two or does not divide the
            number of channels.

    Input shape:
        Arbitrary, with a batch axis first.

    Output shape:
        Same as the input.

    Example:

    >>> layer = keras_lip.layers.GroupSort(2)
    >>> outputs = layer(np.array([[3.0, 1.0, 2.0, 4.0]]))
    >>> keras.ops.convert_to_numpy(outputs).tolist()
    [[1.0, 3.0, 2.0, 4.0]]

    Reference:

    - [Anil et al., 2019](https://arxiv.org/abs/1811.05381), section 4.1
    """

    norms = NORMS
    guarantee = "gradient norm preserving"

    def __init__(
        self, group_size: int = 2, axis: int = -1, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.group_size = check_positive_integer("group_size", group_size)
        if self.group_size < 2:
            raise ValueError(
                "`group_size` must be at least 2. Received: "
                f"group_size={group_size}"
            )
        self.axis = check_integer("axis", axis)

    def build(self, input_shape: Shape) -> None:
        check_groups(self, input_shape, self.axis, self.group_size)

    def call(self, inputs: Tensor) -> Tensor:
        if self.group_size == 2:
            # Faster than a sort on every backend.
            return sort_pairs(inputs, self.axis, descending=False)
        groups, axis = split_groups(inputs, self.axis, self.group_size)
        return merge_groups(ops.sort(groups, axis=axis), inputs)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        # The same instance may be called on inputs of several shapes.
        check_groups(self, input_shape, self.axis, self.group_size)
        return input_shape

    def freeze(self, *inputs: Wire) -> Wire:
        (x,) = inputs
        return x.then(Sort(sample_axis(x, self.axis), self.group_size))

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "group_size": self.group_size,
            "axis": self.axis,
        }
