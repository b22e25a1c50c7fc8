"""The base class of convolutional blocks with one hidden layer."""

import abc
import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lip.held_values import compute_once
from keras_lip.layers.image_format import check_data_format
from keras_lip.layers.image_format import check_sizes
from keras_lip.layers.image_format import unfit_window
from keras_lip.layers.residual.base_hidden_block import BaseHiddenBlock
from keras_lip.operators import ConvolutionOperator
from keras_lip.program.builder import Wire
from keras_lip.program.freezing.activations import activate
from keras_lip.program.freezing.reading import channels_back
from keras_lip.program.freezing.reading import channels_last
from keras_lip.program.nodes.convolution import Convolution
from keras_lip.program.nodes.merges import Combine
from keras_lip.read_weight import read_kernel
from keras_lip.types import Array
from keras_lip.types import Config
from keras_lip.types import Shape
from keras_lip.types import Tensor
from keras_lip.validation import check_known
from keras_lip.validation import check_positive_integer


class BaseHiddenConv2D(BaseHiddenBlock):
    """Computes `x - adjoint(back, s(convolve(kernel, x) + b))`.

    Subclasses define `back`: the kernel times one factor for all hidden
    channels, or times one factor for each hidden channel.

    Args:
        hidden_filters: Positive integer. Number of hidden channels.
        kernel_size: Positive integer, or a pair.
        padding: `"same"` or `"valid"`. Padding of the convolution to the hidden
            channels.
        padding_mode: `"circular"` or `"zeros"`. Values of the padding with
            `"same"`.
        data_format: `"channels_last"` or `"channels_first"`. Defaults to
            `None`, for `keras.config.image_data_format()`.
        activation: Name or function of a non-decreasing 1-Lipschitz activation
            of `keras.activations`.
        **kwargs: As in `BaseHiddenBlock`.
    """

    def __init__(
        self,
        hidden_filters: int,
        kernel_size: int | Sequence[int],
        *,
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
        self.input_spec = keras.layers.InputSpec(ndim=4)

    @property
    def operator(self) -> ConvolutionOperator:
        """The linear map to the hidden channels."""
        return ConvolutionOperator(
            padding=self.padding, padding_mode=self.padding_mode
        )

    def build(self, input_shape: Shape) -> None:
        axis = -1 if self.data_format == "channels_last" else 1
        channels = input_shape[axis]
        if channels is None:
            raise ValueError(
                f"The channels of the inputs of layer '{self.name}' must have "
                f"a known size. Received: input_shape={tuple(input_shape)}, "
                f"data_format={self.data_format!r}"
            )
        first = self.data_format == "channels_first"
        sides = input_shape[2:] if first else input_shape[1:-1]
        if self.padding == "valid" and any(
            side is not None and side < taps
            for side, taps in zip(sides, self.kernel_size, strict=True)
        ):
            raise unfit_window(self, input_shape)
        shape = (*self.kernel_size, channels, self.hidden_filters)
        self.kernel = self._add_kernel("kernel", shape)
        self.bias = self._add_bias(self.hidden_filters)
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={axis: channels})

    @abc.abstractmethod
    def compute_kernels(self, training: bool = False) -> tuple[Tensor, Tensor]:
        """Returns two kernels `V` and `B`. In training it may update a state.

        The layer computes `x - adjoint(B, s(convolve(V, x) + b))`.
        """

    def _constrain(self) -> tuple[Tensor, ...]:
        """Returns both kernels and additional values that a subclass uses."""
        return self.compute_kernels()

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        first = self.data_format == "channels_first"
        images = ops.moveaxis(inputs, 1, -1) if first else inputs
        if training and self.trainable:
            kernels = self.compute_kernels(training=True)
        else:
            kernels = compute_once(self)[:2]
        kernel, back = (ops.cast(kernel, images.dtype) for kernel in kernels)
        hidden = self.operator.matvec(kernel, images) + self.bias
        hidden = self.activation(hidden)
        outputs = images - self.operator.adjoint(back, hidden)
        return ops.moveaxis(outputs, -1, 1) if first else outputs

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def _read_kernels(self, proven: bool) -> tuple[Array, Array]:
        """Returns `V` and `B`, or their proven versions, on the host.

        Args:
            proven: Boolean. Whether to replace an estimated factor by one that
                is proven to be non-expansive.
        """
        kernel, back = compute_once(self)[:2]
        return read_kernel(self, kernel), read_kernel(self, back)

    def freeze(self, *inputs: Wire) -> Wire:
        (x,) = inputs
        kernel, back = self._read_kernels(x.has_proven_steps)
        up = self._make_up(kernel)
        down = dataclasses.replace(
            up,
            kernel=np.swapaxes(back[::-1, ::-1], -2, -1),
            bias=None,
            widths=tuple(self.operator.adjoint_widths(kernel)),
        )
        images = channels_last(x, self)
        hidden = activate(images.then(up), self.activation)
        outputs = images.then(Combine((1.0, -1.0)), hidden.then(down))
        return channels_back(outputs, self)

    def _make_up(self, kernel: Array) -> Convolution:
        """Makes the convolution to the hidden channels, in float64."""
        return Convolution(
            kernel,
            read_kernel(self, self.bias),
            strides=(1, 1),
            dilation_rate=(1, 1),
            groups=1,
            widths=tuple(self.operator.padding_widths(kernel)),
            circular=self.operator.is_circular,
        )

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "hidden_filters": self.hidden_filters,
            "kernel_size": self.kernel_size,
            "padding": self.padding,
            "padding_mode": self.padding_mode,
            "data_format": self.data_format,
        }
