"""The base class of convolutions that are constrained in the Fourier domain."""

import abc
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_lip.held_values import compute_once
from keras_lip.layers.constrained_kernel import shrink_kernel
from keras_lip.layers.convolutional.base_conv import BaseConv
from keras_lip.layers.reshaping.invertible_downsampling2d import (
    InvertibleDownsampling2D,
)
from keras_lip.linalg import kernel_spectrum
from keras_lip.linalg import split_phases
from keras_lip.operators import FourierOperator
from keras_lip.program.builder import Wire
from keras_lip.program.freezing.activations import activate
from keras_lip.program.freezing.reading import channels_back
from keras_lip.program.freezing.reading import channels_last
from keras_lip.program.freezing.reading import read_bias
from keras_lip.program.nodes.einsum import Einsum
from keras_lip.proofs.rounding import multiply_up
from keras_lip.read_weight import read_weight
from keras_lip.types import Array
from keras_lip.types import Shape
from keras_lip.types import Tensor

# Index of the last matrix product of the layer, which adds the bias.
_LAST = "bhqko,qkw->bhwo"


class FourierConv(BaseConv):
    """Constrains the matrix of channels at each frequency of the image.

    A circular convolution multiplies each frequency of the image by a matrix.
    The free kernel has the size of the window. The resulting convolution covers
    the whole image and depends on the image size, which is fixed when the layer
    is built. Strides turn blocks of pixels into channels.

    Args:
        filters: Positive integer. Number of output channels.
        kernel_size: Positive integer, or a pair: height and width of the
            window.
        **kwargs: Arguments of `BaseConv`.
    """

    def __init__(
        self, filters: int, kernel_size: int | Sequence[int], **kwargs: Any
    ) -> None:
        super().__init__(2, filters, kernel_size, **kwargs)
        if (self.padding, self.padding_mode) != ("same", "circular"):
            raise ValueError(
                f"`{type(self).__name__}` is orthogonal in the Fourier domain, "
                "where images are periodic: `padding` must be 'same' and "
                "`padding_mode` 'circular'. Use `AOLConv2D` with another "
                f"padding. Received: padding={self.padding!r}, "
                f"padding_mode={self.padding_mode!r}"
            )

    def build(self, input_shape: Shape) -> None:
        super().build(input_shape)
        # The bound is only valid for this image size.
        self.input_spec = keras.layers.InputSpec(
            ndim=4, axes=dict(enumerate(input_shape[1:], start=1))
        )

    def _add_kernel(self, channels: int, sides: Shape) -> None:
        pairs = [
            (side or 0, stride)
            for side, stride in zip(sides, self.strides, strict=True)
        ]
        if any(not side or side % stride for side, stride in pairs):
            raise ValueError(
                f"Layer '{self.name}' needs images with known sides that are "
                "multiples of its strides. Received: images of sides "
                f"{tuple(sides)}, strides={self.strides}"
            )
        rows, columns = (side // stride for side, stride in pairs)
        self._operator = FourierOperator((rows, columns))
        self.downsampling = InvertibleDownsampling2D(
            self.strides, "channels_last", dtype=self.dtype_policy
        )
        self.downsampling.build((None, *sides, channels))
        self.free_kernel = self.add_weight(
            name="free_kernel",
            shape=self._free_shape(channels),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            # The kernel and the transforms stay in float32 under mixed
            # precision, because they would not be orthogonal in bfloat16.
            autocast=False,
        )

    def _free_shape(self, channels: int) -> tuple[int, ...]:
        """Returns the shape of the free kernel."""
        return (*self.kernel_size, channels, self.filters)

    def _block_kernel(self) -> Tensor:
        """Returns the free kernel for images whose blocks are channels."""
        kernel = ops.convert_to_tensor(self.free_kernel)
        return split_phases(kernel, self.strides)

    @abc.abstractmethod
    def _constrain_spectrum(
        self, real: Tensor, imaginary: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Maps the matrix of each frequency to a matrix of norm at most one.

        Args:
            real: Tensor of shape `(frequencies, in_channels, filters)`.
            imaginary: Tensor of the same shape.

        Returns:
            Tuple of the real and the imaginary parts.
        """

    def _compute_spectrum(self) -> tuple[Tensor, Tensor]:
        """Returns the unitary matrices, as real and imaginary parts.

        Returns:
            Tuple of tensors of shape `(frequencies, in_channels, filters)`, for
            the frequencies of `FourierOperator`. `in_channels` is the number of
            channels of a whole block of pixels.
        """
        kernel = self._block_kernel()
        spectrum = kernel_spectrum(kernel, self._operator.sides)
        return self._constrain_spectrum(*spectrum)

    @property
    def kernel(self) -> Tensor:
        """The kernel used at inference, as a kernel of `FourierOperator`."""
        real, imaginary = self._compute_spectrum()
        top = ops.concatenate([real, imaginary], axis=-1)
        bottom = ops.concatenate([-imaginary, real], axis=-1)
        return ops.concatenate([top, bottom], axis=-2)

    def _constrain(self) -> Any:
        return self.kernel

    def _convolve(self, images: Tensor, training: bool) -> Tensor:
        dtype = images.dtype
        if training:
            kernel = self.kernel
        else:
            kernel = compute_once(self)
        images = ops.cast(self.downsampling(images), kernel.dtype)
        return ops.cast(self._operator.matvec(kernel, images), dtype)

    def freeze(self, *inputs: Wire) -> Wire:
        kernel = compute_once(self)
        x = channels_last(inputs[0], self)
        if x.proven:
            kernel = shrink_kernel(kernel, self._bound_norm())
        x = x.through(self.downsampling)
        bias = read_bias(self)
        for equation, weight in self._transforms(read_weight(kernel)):
            last = equation == _LAST and bias is not None
            node = Einsum(
                weight, bias if last else None, equation, "o" if last else ""
            )
            x = x.then(node)
        return channels_back(activate(x, self.activation), self)

    def _transforms(self, kernel: Array) -> list[tuple[str, Array]]:
        """Returns the matrix products of the layer.

        Parts are real and imaginary: `p` and `q` of the image, `r` and `s` of
        the spectrum.
        """
        rows, columns = self._operator.sides
        half = columns // 2 + 1
        row_matrix, column_matrix = map(
            read_weight, self._operator.matrices(self.free_kernel.dtype)
        )
        row_matrix = row_matrix.reshape(rows, 2, rows, 2)
        column_matrix = column_matrix.reshape(2, half, columns)
        kernel = kernel.reshape(rows, half, 2, -1, 2, self.filters)
        return [
            ("bhwi,pkw->bhpki", column_matrix),
            ("bhpki,frhp->bfkri", row_matrix),
            ("bfkri,fkriso->bfkso", kernel),
            ("bfkso,fshq->bhqko", row_matrix),
            (_LAST, column_matrix),
        ]

    def _bound_norm(self) -> float:
        """Returns an upper bound on the norm of the whole convolution."""
        kernel = read_weight(self.kernel)
        norms = (
            Einsum(weight, None, equation).constant("l2", None)
            for equation, weight in self._transforms(kernel)
        )
        return multiply_up(*norms)
