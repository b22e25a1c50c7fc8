"""The base class of Lipschitz convolutions."""

import abc
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_lip.layers.image_format import check_data_format
from keras_lip.layers.image_format import check_sizes
from keras_lip.layers.image_format import unfit_window
from keras_lip.layers.initializers import get_initializer
from keras_lip.layers.lipschitz_layer import LipschitzLayer
from keras_lip.program.freezing.activations import find_slope
from keras_lip.program.freezing.activations import get_activation
from keras_lip.types import Config
from keras_lip.types import Shape
from keras_lip.types import Tensor
from keras_lip.validation import check_known
from keras_lip.validation import check_positive_integer


class BaseConv(LipschitzLayer):
    """Computes `activation(convolve(inputs) + bias)`.

    Subclasses create their weights in `_add_kernel`, implement `_convolve` for
    channels-last images, and define `freeze` or their bound.

    Args:
        rank: Integer. Number of axes of an image, 1 or 2.
        filters: Positive integer. Number of channels of the output.
        kernel_size: Positive integer, or one for each image axis.
        strides: Positive integer, or one for each image axis.
        padding: `"same"` or `"valid"`.
        padding_mode: `"circular"` or `"zeros"`. Values of the padding with
            `"same"`.
        data_format: `"channels_last"` or `"channels_first"`. Defaults to
            `None`, for `keras.config.image_data_format()`.
        activation: Activation function. Its Lipschitz constant must be known
            and multiplies the layer's bound. Defaults to `None`.
        use_bias: Boolean. Whether the layer adds a bias.
        kernel_initializer: Initializer of the free kernel.
        bias_initializer: Initializer of the bias.
        kernel_regularizer: Regularizer of the free kernel.
        bias_regularizer: Regularizer of the bias.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.
    """

    def __init__(
        self,
        rank: int,
        filters: int,
        kernel_size: int | Sequence[int],
        *,
        strides: int | Sequence[int] = 1,
        padding: str = "same",
        padding_mode: str = "circular",
        data_format: str | None = None,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.rank = rank
        self.filters = check_positive_integer("filters", filters)
        self.kernel_size = check_sizes("kernel_size", kernel_size, rank)
        self.strides = check_sizes("strides", strides, rank)
        check_known("padding", padding, ("same", "valid"))
        self.padding = padding
        check_known("padding_mode", padding_mode, ("circular", "zeros"))
        self.padding_mode = padding_mode
        self.data_format = check_data_format(data_format)
        self.activation = get_activation(activation)
        self.use_bias = use_bias
        self.kernel_initializer = get_initializer(kernel_initializer)
        self.bias_initializer = get_initializer(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.input_spec = keras.layers.InputSpec(ndim=rank + 2)

    def build(self, input_shape: Shape) -> None:
        axis = -1 if self.data_format == "channels_last" else 1
        channels = input_shape[axis]
        if channels is None:
            raise ValueError(
                f"The channels of the inputs of layer '{self.name}' must have "
                f"a known size. Received: input_shape={tuple(input_shape)}, "
                f"data_format={self.data_format!r}"
            )
        sides = self._to_channels_last(input_shape)[1:-1]
        self._check_sides(input_shape)
        self._add_kernel(channels, sides)
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(self.filters,),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
            )
        self.input_spec = keras.layers.InputSpec(
            ndim=self.rank + 2, axes={axis: channels}
        )

    @abc.abstractmethod
    def _add_kernel(self, channels: int, sides: Shape) -> None:
        """Adds the weights of the kernel. `build` calls it.

        Args:
            channels: Integer. Number of channels of the inputs.
            sides: Sides of the images, `None` where they are unknown.
        """

    @abc.abstractmethod
    def _convolve(self, images: Tensor, training: bool) -> Tensor:
        """Convolves channels-last images."""

    def _estimate_norm(self, training: bool) -> Any:
        """Returns the norm of the convolution that a loss uses."""
        return 1.0

    def _estimate_bound(self, training: bool) -> Any:
        norm = self._estimate_norm(training and self.trainable)
        return norm * find_slope(self.activation)

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        first = self.data_format == "channels_first"
        if first:
            inputs = ops.moveaxis(inputs, 1, -1)
        outputs = self._convolve(inputs, bool(training and self.trainable))
        if self.use_bias:
            outputs = ops.add(outputs, self.bias)
        outputs = self.activation(outputs)
        return ops.moveaxis(outputs, -1, 1) if first else outputs

    def _to_channels_last(self, shape: Shape) -> tuple[int | None, ...]:
        """Returns an input shape converted to channels-last."""
        if self.data_format == "channels_last":
            return tuple(shape)
        return (shape[0], *shape[2:], shape[1])

    def _check_sides(self, input_shape: Shape) -> None:
        shape = self.compute_output_shape(input_shape)
        if any(side is not None and side < 1 for side in shape[1:]):
            raise unfit_window(self, input_shape)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, *sides, _ = self._to_channels_last(input_shape)
        sides = [
            None if side is None else self._output_side(side, taps, stride)
            for side, taps, stride in zip(
                sides, self._extent(), self.strides, strict=True
            )
        ]
        if self.data_format == "channels_last":
            return (batch, *sides, self.filters)
        return (batch, self.filters, *sides)

    def _extent(self) -> tuple[int, ...]:
        """Returns the number of pixels that the window spans on each axis."""
        return self.kernel_size

    def _output_side(self, side: int, taps: int, stride: int) -> int:
        """Returns the output side of a window that slides over a side."""
        if self.padding == "valid":
            return (side - taps) // stride + 1
        return -(-side // stride)

    def get_config(self) -> Config:
        initializers, regularizers = keras.initializers, keras.regularizers
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
            "padding_mode": self.padding_mode,
            "data_format": self.data_format,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": initializers.serialize(
                self.kernel_initializer
            ),
            "bias_initializer": initializers.serialize(self.bias_initializer),
            "kernel_regularizer": regularizers.serialize(
                self.kernel_regularizer
            ),
            "bias_regularizer": regularizers.serialize(self.bias_regularizer),
        }
