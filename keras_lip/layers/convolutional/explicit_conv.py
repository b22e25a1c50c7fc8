"""Convolutions, or their adjoints, with a kernel that can be written down."""

import abc
from collections.abc import Sequence
from typing import Any

from keras import ops

from keras_lip.held_values import compute_once
from keras_lip.layers.convolutional.base_conv import BaseConv
from keras_lip.layers.frozen_kernel import frozen_kernel
from keras_lip.layers.image_format import check_sizes
from keras_lip.operators import ConvolutionOperator
from keras_lip.program.builder import Wire
from keras_lip.program.freezing.activations import activate
from keras_lip.program.freezing.reading import channels_back
from keras_lip.program.freezing.reading import channels_last
from keras_lip.program.freezing.reading import read_bias
from keras_lip.program.node import Node
from keras_lip.proofs.convolution_norm_bound import convolution_norm_bound
from keras_lip.read_weight import read_kernel
from keras_lip.types import Array
from keras_lip.types import Config
from keras_lip.types import Tensor
from keras_lip.validation import check_positive_integer


class ExplicitConv(BaseConv):
    """Computes `activation(apply_kernel(kernel, inputs) + bias)`.

    A subclass is of a direction, `KernelConv` or `KernelConvTranspose`, and of
    a method, such as `AOLKernel`, which says how the kernel comes from the
    weights. The bound is that of the kernel, for images of any size: a
    convolution and its adjoint have the same norm.

    Args:
        rank: Integer. Number of axes of an image, 1 or 2.
        filters: Positive integer. Number of channels of the output.
        kernel_size: Positive integer, or one for each axis of an image.
        dilation_rate: Positive integer, or one for each axis of an image. Must
            be one where strides are not.
        groups: Positive integer that divides `filters` and the number of
            channels of the input.
        **kwargs: As in `BaseConv`.
    """

    def __init__(
        self,
        rank: int,
        filters: int,
        kernel_size: int | Sequence[int],
        dilation_rate: int | Sequence[int] = 1,
        groups: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(rank, filters, kernel_size, **kwargs)
        self.dilation_rate = check_sizes("dilation_rate", dilation_rate, rank)
        self.groups = check_positive_integer("groups", groups)
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ValueError(
                "A convolution has strides or a dilation, not both. Received: "
                f"strides={self.strides}, dilation_rate={self.dilation_rate}"
            )
        if self.filters % self.groups:
            raise ValueError(
                "`filters` must be a multiple of `groups`. Received: "
                f"filters={filters}, groups={groups}"
            )
        self.operator = ConvolutionOperator(
            self.strides,
            self.padding,
            self.padding_mode,
            self.dilation_rate,
            self.groups,
        )

    @abc.abstractmethod
    def kernel_channels(self, channels: int) -> tuple[int, int]:
        """Returns the channels of the kernel: a group's inputs, and outputs.

        Args:
            channels: Integer. Number of channels of the inputs of the layer.
        """

    def shape_kernel(self, channels: int) -> tuple[int, ...]:
        """Returns the shape of the kernel, as that of `ConvolutionOperator`."""
        return (*self.kernel_size, *self.kernel_channels(channels))

    def add_free_kernel(self, channels: int) -> Any:
        """Adds a weight of the kernel's shape, to constrain."""
        # It stays in float32 under mixed precision: constrained in bfloat16,
        # its norm would exceed one.
        return self.add_weight(
            name="free_kernel",
            shape=self.shape_kernel(channels),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            autocast=False,
        )

    @abc.abstractmethod
    def compute_kernel(self, training: bool = False) -> Tensor:
        """Constrains the weights; in training it may update a state."""

    @abc.abstractmethod
    def proven_kernel(self) -> Tensor:
        """Returns a kernel that keeps its promise provably."""

    @abc.abstractmethod
    def apply_kernel(self, kernel: Tensor, images: Tensor) -> Tensor:
        """Applies the linear map of a kernel."""

    @property
    def kernel(self) -> Tensor:
        """The constrained kernel, the one that runs at inference."""
        return self.compute_kernel()

    def convolve(self, images: Tensor, training: bool) -> Tensor:
        if training:
            kernel = self.compute_kernel(training=True)
        else:
            kernel = compute_once(self, lambda: self.kernel)
        return self.apply_kernel(ops.cast(kernel, images.dtype), images)

    def extent(self) -> tuple[int, ...]:
        return tuple(
            (taps - 1) * rate + 1
            for taps, rate in zip(
                self.kernel_size, self.dilation_rate, strict=True
            )
        )

    def bound_norm(self, kernel: Tensor) -> float:
        """Bounds the norm of the convolution with a kernel, from above."""
        # Dilated taps meet the pixels of one phase: their norm is that of the
        # taps side by side.
        return convolution_norm_bound(
            read_kernel(self, kernel), self.strides, self.groups
        )

    def freeze(self, *inputs: Wire) -> Wire:
        (x,) = inputs
        node = self.make_node(frozen_kernel(self, x.proven), read_bias(self))
        outputs = channels_last(x, self).then(node)
        return channels_back(activate(outputs, self.activation), self)

    @abc.abstractmethod
    def make_node(self, kernel: Array, bias: Array | None) -> Node:
        """Returns the node of a kernel, and of a bias if there is one."""

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "dilation_rate": self.dilation_rate,
            "groups": self.groups,
        }
