"""What convolutional blocks with one hidden layer share."""

import abc
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_lip.bounds.read_kernel import read_kernel
from keras_lip.layers.image_format import check_data_format
from keras_lip.layers.image_format import check_sizes
from keras_lip.layers.residual.base_hidden_block import BaseHiddenBlock
from keras_lip.layers.residual.residual_bound import residual_bound
from keras_lip.operators import ConvolutionOperator
from keras_lip.operators import adjoint_kernel
from keras_lip.operators import pad_circular
from keras_lip.types import Config
from keras_lip.types import Shape
from keras_lip.types import Tensor
from keras_lip.validation import check_known
from keras_lip.validation import check_positive_integer


class BaseHiddenConv2D(BaseHiddenBlock):
    """Computes `x - adjoint(back, s(convolve(kernel, x) + b))`.

    Subclasses say what the kernel of the way back is: that of the way there,
    with one factor for all hidden channels, or one for each.

    Args:
        hidden_filters: Positive integer. Number of hidden channels.
        kernel_size: Positive integer, or a pair of them.
        padding: `"same"` or `"valid"`, of the convolution to hidden channels.
        padding_mode: `"circular"` or `"zeros"`: what `"same"` pads with.
        data_format: `"channels_last"` or `"channels_first"`. Defaults to that
            of the Keras configuration.
        activation: Name or function of a non-decreasing 1-Lipschitz activation
            of `keras.activations`.
        **kwargs: As in `BaseHiddenBlock`.
    """

    def __init__(
        self,
        hidden_filters: int,
        kernel_size: int | Sequence[int],
        padding: str = "same",
        padding_mode: str = "circular",
        data_format: str | None = None,
        activation: Any = "relu",
        **kwargs: Any,
    ) -> None:
        super().__init__(activation, **kwargs)
        self.hidden_filters = check_positive_integer(
            "hidden_filters", hidden_filters
        )
        self.kernel_size = check_sizes("kernel_size", kernel_size, 2)
        check_known("padding", padding, ("same", "valid"))
        self.padding = padding
        check_known("padding_mode", padding_mode, ("circular", "zeros"))
        self.padding_mode = padding_mode
        self.data_format = check_data_format(data_format)
        self.operator = ConvolutionOperator(
            padding=padding, padding_mode=padding_mode
        )
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape: Shape) -> None:
        axis = -1 if self.data_format == "channels_last" else 1
        channels = input_shape[axis]
        if channels is None:
            raise ValueError(
                f"The channels of the inputs of layer '{self.name}' must have "
                f"a known size. Received: input_shape={tuple(input_shape)}, "
                f"data_format={self.data_format!r}"
            )
        shape = (*self.kernel_size, channels, self.hidden_filters)
        self.kernel = self.add_kernel("kernel", shape)
        self.bias = self.add_bias(self.hidden_filters)
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={axis: channels})

    @abc.abstractmethod
    def compute_kernels(self, training: bool = False) -> tuple[Tensor, Tensor]:
        """Returns two kernels `V` and `B`; in training it may move a state.

        The layer computes `x - adjoint(B, s(convolve(V, x) + b))`.
        """

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        first = self.data_format == "channels_first"
        images = ops.moveaxis(inputs, 1, -1) if first else inputs
        kernel, back = (
            ops.cast(kernel, images.dtype)
            for kernel in self.compute_kernels(
                bool(training and self.trainable)
            )
        )
        hidden = self.operator.matvec(kernel, images) + self.bias
        hidden = self.activation(hidden)
        outputs = images - self.operator.adjoint(back, hidden)
        return ops.moveaxis(outputs, -1, 1) if first else outputs

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def lipschitz_bound(self) -> float:
        return residual_bound(
            *(read_kernel(self, kernel) for kernel in self.compute_kernels())
        )

    def stock_block(self, down_kernel: Tensor) -> keras.Model:
        """Returns the block as a model of two stock convolutions.

        Args:
            down_kernel: Kernel of the way back, the factors included.
        """
        first = self.data_format == "channels_first"
        shape = self.get_build_config()["input_shape"]
        inputs = keras.Input(shape[1:], dtype=self.compute_dtype)
        images = ops.moveaxis(inputs, 1, -1) if first else inputs
        kernel, bias, down_kernel = (
            ops.convert_to_numpy(weight)
            for weight in (self.kernel, self.bias, down_kernel)
        )
        circular = self.operator.is_circular
        if circular:
            padding = self.operator.circular_padding(kernel)
            outputs = pad_circular(images, padding)
        else:
            outputs = images
        up = keras.layers.Conv2D(
            self.hidden_filters,
            self.kernel_size,
            padding="valid" if circular else self.padding,
            data_format="channels_last",
            activation=self.activation,
            dtype=self.dtype_policy,
        )
        down = keras.layers.Conv2D(
            kernel.shape[-2],
            self.kernel_size,
            data_format="channels_last",
            use_bias=False,
            dtype=self.dtype_policy,
        )
        descent = down(self.operator.pad_adjoint(kernel, up(outputs)))
        subtract = keras.layers.Subtract(dtype=self.dtype_policy)
        outputs = subtract([images, descent])
        if first:
            outputs = ops.moveaxis(outputs, -1, 1)
        up.set_weights([kernel, bias])
        down.set_weights([adjoint_kernel(down_kernel)])
        return keras.Model(inputs, outputs, name=self.name)

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "hidden_filters": self.hidden_filters,
            "kernel_size": self.kernel_size,
            "padding": self.padding,
            "padding_mode": self.padding_mode,
            "data_format": self.data_format,
        }
