"""The base class of residual flows with two half steps."""

import abc
from typing import Any

import keras

from keras_lip.layers.initializers import get_initializer
from keras_lip.layers.lipschitz_layer import LipschitzLayer
from keras_lip.program.builder import Wire
from keras_lip.types import Config
from keras_lip.types import Shape
from keras_lip.types import Tensor
from keras_lip.validation import check_known


class BaseSkewFlow(LipschitzLayer):
    """A convex potential step followed by an orthogonal one.

    Subclasses create a layer for each step: `potential` in `__init__`, which
    checks its arguments, and the rotation in `_make_rotation`.

    Args:
        flow: `"midpoint"` or `"exponential"`. Discretization of the flow of
            `A`.
        generator_initializer: Initializer of the generator.
        generator_regularizer: Regularizer of the generator.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.
    """

    potential: LipschitzLayer

    def __init__(
        self,
        flow: str = "midpoint",
        generator_initializer: Any = "orthogonal",
        generator_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_known("flow", flow, ("midpoint", "exponential"))
        self.flow = flow
        self.generator_initializer = get_initializer(generator_initializer)
        self.generator_regularizer = keras.regularizers.get(
            generator_regularizer
        )

    @abc.abstractmethod
    def _make_rotation(self) -> LipschitzLayer:
        """Returns the layer of the orthogonal step. `potential` is built."""

    def build(self, input_shape: Shape) -> None:
        self.potential.build(input_shape)
        self.rotation = self._make_rotation()
        self.rotation.build(input_shape)

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        halfway = self.potential(inputs, training=training)
        return self.rotation(halfway, training=training)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def freeze(self, *inputs: Wire) -> Wire:
        return inputs[0].through(self.potential).through(self.rotation)

    def _fix_config(self, config: Config) -> Config:
        return self.potential._fix_config(config)

    def get_config(self) -> Config:
        return {
            **self.potential.get_config(),
            **super().get_config(),
            "flow": self.flow,
            "generator_initializer": keras.initializers.serialize(
                self.generator_initializer
            ),
            "generator_regularizer": keras.regularizers.serialize(
                self.generator_regularizer
            ),
        }
