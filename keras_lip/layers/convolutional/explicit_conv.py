"""The base class of convolutions with an explicit kernel, or their adjoints."""

import inspect
import math
from collections.abc import Sequence
from typing import Any

from keras import ops

from keras_lip.held_values import compute_once
from keras_lip.layers.constrained_kernel import add_state
from keras_lip.layers.constrained_kernel import assign_state
from keras_lip.layers.constrained_kernel import can_move_state
from keras_lip.layers.constrained_kernel import frozen_kernel
from keras_lip.layers.constrained_kernel import shrink_kernel
from keras_lip.layers.convolutional.base_conv import BaseConv
from keras_lip.layers.convolutional.kernel_maps import KernelGeometry
from keras_lip.layers.convolutional.kernel_maps import KernelMap
from keras_lip.layers.image_format import check_sizes
from keras_lip.operators import ConvolutionOperator
from keras_lip.parametrizations import Parametrization
from keras_lip.program.builder import Wire
from keras_lip.program.freezing.activations import activate
from keras_lip.program.freezing.reading import channels_back
from keras_lip.program.freezing.reading import channels_last
from keras_lip.program.freezing.reading import read_bias
from keras_lip.program.node import Node
from keras_lip.program.nodes.convolution import Convolution
from keras_lip.program.nodes.transposed_convolution import TransposedConvolution
from keras_lip.proofs.convolution_norm_bound import convolution_norm_bound
from keras_lip.read_weight import read_kernel
from keras_lip.types import Array
from keras_lip.types import Config
from keras_lip.types import Shape
from keras_lip.types import Tensor
from keras_lip.validation import check_positive_integer

# Side of the image for norm estimates if the input sides are unknown. The norm
# hardly depends on it.
_DEFAULT_SIDE = 32


class ExplicitConv(BaseConv):
    """Computes `activation(convolve(kernel, inputs) + bias)`, or its adjoint.

    The kernel map defines the weights, such as `free_kernel`. Each weight is an
    attribute of the layer.

    The bound depends only on the kernel and holds for images of any size. A
    convolution and its adjoint have the same norm. The adjoint maps output
    images to input images, with `filters` channels.

    Args:
        rank: Integer. Number of axes of an image, 1 or 2.
        kernel_map: The `KernelMap` that computes the kernel.
        filters: Positive integer. Number of output channels.
        kernel_size: Positive integer, or one for each image axis.
        dilation_rate: Positive integer, or one for each image axis.
            Incompatible with `strides > 1`. Defaults to `1`.
        groups: Positive integer that divides `filters` and the number of input
            channels. Defaults to `1`.
        transposed: Boolean. Whether to apply the adjoint. Defaults to `False`.
        **kwargs: Arguments of `BaseConv`.
    """

    def __init__(
        self,
        rank: int,
        kernel_map: KernelMap,
        filters: int,
        kernel_size: int | Sequence[int],
        *,
        dilation_rate: int | Sequence[int] = 1,
        groups: int = 1,
        transposed: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(rank, filters, kernel_size, **kwargs)
        self.dilation_rate = check_sizes("dilation_rate", dilation_rate, rank)
        self.groups = check_positive_integer("groups", groups)
        if self.groups > 1 and not _takes_groups(type(self)):
            raise ValueError(
                f"`{type(self).__name__}` has no groups. Received: "
                f"groups={groups}"
            )
        self._check_rates()
        if self.filters % self.groups:
            raise ValueError(
                "`filters` must be a multiple of `groups`. Received: "
                f"filters={filters}, groups={groups}"
            )
        pairs = zip(self.kernel_size, self.strides, strict=True)
        if not kernel_map.may_skip_pixels and any(
            taps < stride for taps, stride in pairs
        ):
            raise ValueError(
                "An orthogonal convolution must not skip pixels: `kernel_size` "
                "must be at least `strides` along every axis. Received: "
                f"kernel_size={self.kernel_size}, strides={self.strides}"
            )
        self.kernel_map = kernel_map
        self.transposed = transposed

    @property
    def _operator(self) -> ConvolutionOperator:
        return ConvolutionOperator(
            self.strides,
            self.padding,
            self.padding_mode,
            self.dilation_rate,
            self.groups,
        )

    @property
    def parametrization(self) -> Parametrization:
        """The parametrization of the kernel map, if it has one."""
        found: Parametrization = self.kernel_map.parametrization  # type: ignore[attr-defined]
        return found

    @parametrization.setter
    def parametrization(self, value: Parametrization) -> None:
        self.kernel_map.parametrization = value  # type: ignore[attr-defined]

    def _check_rates(self) -> None:
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ValueError(
                "A convolution has strides or a dilation, not both. Received: "
                f"strides={self.strides}, dilation_rate={self.dilation_rate}"
            )

    def build(self, input_shape: Shape) -> None:
        self._check_rates()
        if not self.transposed:
            self._operator.check_sides(
                self._to_channels_last(input_shape)[1:-1]
            )
        super().build(input_shape)

    def _add_kernel(self, channels: int, sides: Shape) -> None:
        self._geometry = KernelGeometry(
            (*self.kernel_size, *self._kernel_channels(channels)),
            self.strides,
            self.groups,
            self._operator,
            (*self._image_sides(sides), channels),
        )
        shapes = self.kernel_map.weight_shapes(self._geometry)
        self._free_names = tuple(shapes)
        own = self.kernel_map.initializers()
        for name, shape in shapes.items():
            weight = self.add_weight(
                name=name,
                shape=shape,
                initializer=own.get(name, self.kernel_initializer),
                regularizer=None if name in own else self.kernel_regularizer,
                # It stays in float32 under mixed precision, because its norm
                # would exceed one if it were constrained in bfloat16.
                autocast=False,
            )
            setattr(self, name, weight)
        initial = self.kernel_map.initial_state(self._geometry)
        self.state = add_state(self, initial)

    def _kernel_channels(self, channels: int) -> tuple[int, int]:
        """Returns the input channels of a group and the output channels."""
        if self.transposed:
            return self.filters, channels
        if channels % self.groups:
            raise ValueError(
                f"The channels of the inputs of layer '{self.name}' must be a "
                f"multiple of its groups. Received: {channels} channels, "
                f"groups={self.groups}"
            )
        return channels // self.groups, self.filters

    def _image_sides(self, sides: Shape) -> tuple[int, ...]:
        """Returns the sides of the smallest image with the same outputs."""
        read = []
        for side, taps, stride in zip(
            sides, self._extent(), self.strides, strict=True
        ):
            if side is None:
                side = max(_DEFAULT_SIDE, taps)
            outputs = self._output_side(side, taps, stride)
            if self.padding == "valid":
                read.append((outputs - 1) * stride + max(taps, stride))
            else:
                read.append(outputs * stride)
        return tuple(read)

    def compute_kernel(self, training: bool = False) -> Tensor:
        """Computes the constrained kernel. Training may update a state."""
        training = training and can_move_state(self.state)
        weights = {
            name: ops.convert_to_tensor(getattr(self, name))
            for name in self._free_names
        }
        kernel, state = self.kernel_map.constrain(
            self._geometry, weights, self.state, training
        )
        if training:
            assign_state(self.state, state)
        return kernel

    @property
    def kernel(self) -> Tensor:
        """The constrained kernel used at inference."""
        return self.compute_kernel()

    def _proven_kernel(self) -> Tensor:
        """Returns a kernel that is proven to be non-expansive."""
        kernel = self.kernel
        if not self.kernel_map.is_estimate:
            return kernel
        taps = math.prod(self.kernel_size)
        return shrink_kernel(kernel, self._bound_norm(kernel), taps)

    def _constrain(self) -> Any:
        return self.kernel

    def _estimate_norm(self, training: bool) -> Any:
        training = training and can_move_state(self.state)
        norm, state = self.kernel_map.estimate_norm(
            self._geometry, self.kernel, self.state, training
        )
        if training:
            assign_state(self.state, state)
        return norm

    def _convolve(self, images: Tensor, training: bool) -> Tensor:
        if training:
            kernel = self.compute_kernel(training=True)
        else:
            kernel = compute_once(self)
        kernel = ops.cast(kernel, images.dtype)
        if self.transposed:
            return self._operator.adjoint(kernel, images)
        return self._operator.matvec(kernel, images)

    def _extent(self) -> tuple[int, ...]:
        return tuple(
            (taps - 1) * rate + 1
            for taps, rate in zip(
                self.kernel_size, self.dilation_rate, strict=True
            )
        )

    def _output_side(self, side: int, taps: int, stride: int) -> int:
        if not self.transposed:
            return super()._output_side(side, taps, stride)
        if self.padding == "valid":
            return (side - 1) * stride + max(taps, stride)
        return side * stride

    def _bound_norm(self, kernel: Tensor) -> float:
        """Returns an upper bound on the norm of the convolution."""
        # Dilated taps only touch pixels of one phase, so the norm equals that
        # of the kernel without dilation.
        return convolution_norm_bound(
            read_kernel(self, kernel), self.strides, self.groups
        )

    def freeze(self, *inputs: Wire) -> Wire:
        (x,) = inputs
        kernel, bias = frozen_kernel(self, x.proven), read_bias(self)
        make = self._transposed_node if self.transposed else self._node
        outputs = channels_last(x, self).then(make(kernel, bias))
        return channels_back(activate(outputs, self.activation), self)

    def _node(self, kernel: Array, bias: Array | None) -> Node:
        operator = self._operator
        strided_same = self.padding == "same" and not operator.is_circular
        widths = None
        if not strided_same or max(self.strides) == 1:
            widths = tuple(operator.padding_widths(kernel))
        return Convolution(
            kernel,
            bias,
            self.strides,
            self.dilation_rate,
            self.groups,
            widths,
            operator.is_circular,
        )

    def _transposed_node(self, kernel: Array, bias: Array | None) -> Node:
        operator = self._operator
        none = ((0, 0),) * self.rank
        wrapping = operator.adjoint_padding(kernel)
        return TransposedConvolution(
            kernel,
            bias,
            self.strides,
            self.dilation_rate,
            1,
            tuple(wrapping) if operator.is_circular else none,
            tuple(operator.adjoint_cropping(kernel)),
        )

    def get_config(self) -> Config:
        config = {
            **super().get_config(),
            **self.kernel_map.get_config(),
            "dilation_rate": self.dilation_rate,
        }
        if _takes_groups(type(self)):
            config["groups"] = self.groups
        return config

    @classmethod
    def from_config(cls, config: Config) -> Any:
        if not _takes_groups(cls):
            # Older files contain groups of one.
            config = {k: v for k, v in config.items() if k != "groups"}
        return super().from_config(config)


def _takes_groups(cls: type) -> bool:
    return "groups" in inspect.signature(cls).parameters
