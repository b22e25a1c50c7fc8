"""The head of a classifier with one hidden layer and bounded curvature."""

from typing import Any

import keras
from keras import ops

from keras_lip.layers.initializers import get_initializer
from keras_lip.layers.lipschitz_layer import LipschitzLayer
from keras_lip.program.builder import Wire
from keras_lip.program.nodes.curvature_head import (
    CurvatureHead as CurvatureNode,
)
from keras_lip.read_weight import read_kernel
from keras_lip.types import Config
from keras_lip.types import Shape
from keras_lip.types import Tensor
from keras_lip.validation import check_positive_integer


@keras.saving.register_keras_serializable(package="keras_lip")
class CurvatureHead(LipschitzLayer):
    """Head with one hidden layer that is certified by its curvature.

    The layer computes `softplus(x W + b) V + c` from the features `x` of a
    1-Lipschitz network. Use it as the last layer. It is more expressive than a
    linear head. Its weights are unconstrained, so `lipschitz_bound`, which is
    `|W| |V|`, may be large. Certificates use curvature instead: the second
    derivatives of a margin are bounded by `|W|^2 / 4` times the largest
    difference of two weights. With this bound, a convex optimization computes
    the distance to the decision boundary (CRC-Lip), for most inputs exactly.

    Train it with `keras_lip.losses.CurvatureCrossentropy`, which keeps the
    curvature small.

    The activation has no slope parameter, because `softplus(beta x) / beta` is
    the same head with `beta W`, `beta b` and `V / beta`.

    Args:
        units: Positive integer. Dimension of the output.
        hidden_units: Positive integer. Number of columns of `W`.
        kernel_initializer: Initializer of `W` and `V`. Defaults to
            `"glorot_uniform"`.
        bias_initializer: Initializer of `b` and `c`. Defaults to `"zeros"`.
        kernel_regularizer: Regularizer of `W` and `V`. Defaults to `None`.
        bias_regularizer: Regularizer of `b` and `c`. Defaults to `None`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        ValueError: If `units` or `hidden_units` is not a positive integer.

    Input shape:
        `(batch_size, ..., input_dim)`.

    Output shape:
        `(batch_size, ..., units)`.

    Example:

    >>> layer = keras_lip.layers.CurvatureHead(10, hidden_units=16)
    >>> tuple(layer(np.ones((2, 3))).shape)
    (2, 10)

    Reference:

    - [Singla & Feizi, 2022](https://arxiv.org/abs/2211.08453), section 5
    """

    def __init__(
        self,
        units: int,
        hidden_units: int,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.units = check_positive_integer("units", units)
        self.hidden_units = check_positive_integer("hidden_units", hidden_units)
        self.kernel_initializer = get_initializer(kernel_initializer)
        self.bias_initializer = get_initializer(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.input_spec = keras.layers.InputSpec(min_ndim=2)

    def build(self, input_shape: Shape) -> None:
        input_dim = input_shape[-1]
        if input_dim is None:
            raise ValueError(
                f"The last axis of the inputs of layer '{self.name}' must have "
                f"a known size. Received: input_shape={tuple(input_shape)}"
            )
        self.hidden_kernel = self._add_kernel(
            "hidden_kernel", (input_dim, self.hidden_units)
        )
        self.hidden_bias = self._add_bias("hidden_bias", self.hidden_units)
        self.kernel = self._add_kernel(
            "kernel", (self.hidden_units, self.units)
        )
        self.bias = self._add_bias("bias", self.units)
        self.input_spec = keras.layers.InputSpec(
            min_ndim=2, axes={-1: input_dim}
        )

    def _add_kernel(self, name: str, shape: tuple[int, ...]) -> Any:
        return self.add_weight(
            name=name,
            shape=shape,
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            autocast=False,
        )

    def _add_bias(self, name: str, size: int) -> Any:
        return self.add_weight(
            name=name,
            shape=(size,),
            initializer=self.bias_initializer,
            regularizer=self.bias_regularizer,
        )

    def call(self, inputs: Tensor) -> Tensor:
        kernel = ops.cast(self.hidden_kernel, inputs.dtype)
        hidden = ops.add(ops.matmul(inputs, kernel), self.hidden_bias)
        kernel = ops.cast(self.kernel, inputs.dtype)
        return ops.add(ops.matmul(ops.softplus(hidden), kernel), self.bias)

    def _estimate_bound(self, training: bool) -> Any:
        raise ValueError(
            f"Layer '{self.name}' of type `CurvatureHead` is certified by its "
            "curvature and has no Lipschitz constant to train with. Use "
            "`keras_lip.losses.CurvatureCrossentropy`, or replace the head by "
            "a `UnitNormDense`."
        )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.units)

    def freeze(self, *inputs: Wire) -> Wire:
        weights = (self.hidden_kernel, self.hidden_bias, self.kernel, self.bias)
        node = CurvatureNode(*(read_kernel(self, each) for each in weights))
        return inputs[0].then(node)

    def get_config(self) -> Config:
        initializers, regularizers = keras.initializers, keras.regularizers
        return {
            **super().get_config(),
            "units": self.units,
            "hidden_units": self.hidden_units,
            "kernel_initializer": initializers.serialize(
                self.kernel_initializer
            ),
            "bias_initializer": initializers.serialize(self.bias_initializer),
            "kernel_regularizer": regularizers.serialize(
                self.kernel_regularizer
            ),
            "bias_regularizer": regularizers.serialize(self.bias_regularizer),
        }
