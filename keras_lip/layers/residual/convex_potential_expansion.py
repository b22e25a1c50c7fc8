"""Parallel convex potential blocks, to increase the number of channels."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_lip.layers.lipschitz_layer import LipschitzLayer
from keras_lip.layers.lipschitz_layer import fix_entry
from keras_lip.layers.merging.lipschitz_concatenate import LipschitzConcatenate
from keras_lip.layers.residual.convex_potential_conv2d import (
    ConvexPotentialConv2D,
)
from keras_lip.layers.residual.convex_potential_dense import (
    ConvexPotentialDense,
)
from keras_lip.program.builder import Wire
from keras_lip.types import Config
from keras_lip.types import Shape
from keras_lip.types import Tensor


@keras.saving.register_keras_serializable(package="keras_lip")
class ConvexPotentialExpansion(LipschitzLayer):
    """Several parallel convex potential blocks (stable expansion block).

    The layer computes `concatenate([f_1(x), ..., f_l(x)]) / sqrt(l)`, so its
    output has `l` times the channels of its input. It is 1-Lipschitz in the l2
    norm if the blocks `f_i` are. Its bound is `sqrt((b_1^2 + ... + b_l^2) / l)`
    for blocks with bounds `b_i`.

    Args:
        blocks: List of `ConvexPotentialDense` or of `ConvexPotentialConv2D`.
            The latter must have the same `data_format`, which determines the
            channel axis.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        TypeError: If `blocks` is not a list of such layers.
        ValueError: If `blocks` is empty or the data formats differ.

    Input shape:
        The shape that the blocks take.

    Output shape:
        The shape that the blocks return, with `len(blocks)` times the channels.

    Example:

    >>> blocks = [keras_lip.layers.ConvexPotentialDense(8) for _ in range(3)]
    >>> layer = keras_lip.layers.ConvexPotentialExpansion(blocks)
    >>> tuple(layer(np.ones((2, 4))).shape)
    (2, 12)

    Reference:

    - [Meunier et al., 2022](https://arxiv.org/abs/2110.12690), section 4.1
    """

    def __init__(self, blocks: Sequence[LipschitzLayer], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        known = (ConvexPotentialDense, ConvexPotentialConv2D)
        if not isinstance(blocks, list | tuple) or not all(
            isinstance(block, known) for block in blocks
        ):
            raise TypeError(
                "`blocks` must be a list of `ConvexPotentialDense` or of "
                f"`ConvexPotentialConv2D`. Received: blocks={blocks!r}"
            )
        formats = {getattr(block, "data_format", None) for block in blocks}
        if len(formats) != 1:
            raise ValueError(
                "`blocks` must contain at least one block, all of one kind and "
                f"data format. Received: {len(blocks)} blocks of the data "
                f"formats {sorted(map(str, formats))}"
            )
        self.blocks = list(blocks)
        first = formats == {"channels_first"}
        self.concatenate = LipschitzConcatenate(
            axis=1 if first else -1, dtype=self.dtype_policy
        )

    def build(self, input_shape: Shape) -> None:
        for block in self.blocks:
            if not block.built:
                block.build(input_shape)
        self.concatenate.build([input_shape] * len(self.blocks))

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        # Keras freezes the blocks if the layer is frozen later, but not if it
        # is created with `trainable=False`.
        training = bool(training and self.trainable)
        return self.concatenate(
            [block(inputs, training=training) for block in self.blocks]
        )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        shapes = [input_shape] * len(self.blocks)
        return self.concatenate.compute_output_shape(shapes)

    def freeze(self, *inputs: Wire) -> Wire:
        outputs = [inputs[0].through(block) for block in self.blocks]
        return outputs[0].through(self.concatenate, *outputs[1:])

    def _fix_config(self, config: Config) -> Config:
        pairs = zip(config["blocks"], self.blocks, strict=True)
        return {**config, "blocks": [fix_entry(*pair) for pair in pairs]}

    def get_config(self) -> Config:
        serialize = keras.saving.serialize_keras_object
        blocks = [serialize(block) for block in self.blocks]
        return {**super().get_config(), "blocks": blocks}

    @classmethod
    def from_config(cls, config: Config) -> "ConvexPotentialExpansion":
        deserialize = keras.saving.deserialize_keras_object
        blocks = [deserialize(block) for block in config.pop("blocks")]
        return cls(blocks, **config)
