"""The linear map of a convolutional layer."""

import dataclasses

from keras import ops

from keras_lip.flip import flip
from keras_lip.operators.convolve import convolve
from keras_lip.operators.linear_operator import LinearOperator
from keras_lip.operators.padding import Padding
from keras_lip.operators.padding import crop_images
from keras_lip.operators.padding import pad_circular
from keras_lip.operators.padding import pad_zeros
from keras_lip.types import Shape
from keras_lip.types import Tensor


@dataclasses.dataclass(frozen=True)
class ConvolutionOperator(LinearOperator):
    """Convolves images of shape `(*image, channels)`, as `Conv1D` and `Conv2D`.

    The kernel has the shape `(*window, in_channels // groups, filters)`.

    Args:
        strides: Tuple of positive integers, one for each axis of the window.
            Defaults to `(1, 1)`.
        padding: `"same"` or `"valid"`. Defaults to `"same"`.
        padding_mode: `"circular"` or `"zeros"`. Values of the padding with
            `"same"`. Defaults to `"circular"`.
        dilation_rate: Tuple of positive integers. Incompatible with strides.
            Defaults to `(1, 1)`.
        groups: Positive integer. Number of groups of channels. The adjoint is
            only defined for one group. Defaults to `1`.
    """

    strides: tuple[int, ...] = (1, 1)
    padding: str = "same"
    padding_mode: str = "circular"
    dilation_rate: tuple[int, ...] = (1, 1)
    groups: int = 1

    def matvec(self, kernel: Tensor, inputs: Tensor) -> Tensor:
        padding = self.padding
        if self.is_circular:
            self.check_sides(inputs.shape[1:-1])
            inputs = pad_circular(inputs, self.circular_padding(kernel))
            padding = "valid"
        return convolve(
            inputs, kernel, self.strides, padding, self.dilation_rate
        )

    def adjoint(self, kernel: Tensor, outputs: Tensor) -> Tensor:
        """Applies the adjoint operator, from outputs to inputs.

        The inputs have the smallest sides that give outputs of these sides.
        With `"same"` the sides are multiples of the strides.
        """
        if max(self.strides) == 1:
            # On all backends a convolution is faster than a transposed
            # convolution.
            return convolve(
                self.pad_adjoint(kernel, outputs),
                adjoint_kernel(kernel),
                self.strides,
                "valid",
                self.dilation_rate,
            )
        if self.is_circular:
            outputs = pad_circular(outputs, self.adjoint_padding(kernel))
        # The pixels that `"same"` keeps depend on the backend and the Keras
        # version.
        inputs = ops.conv_transpose(
            outputs,
            kernel,
            strides=self.strides,
            padding="valid",
            data_format="channels_last",
        )
        return crop_images(inputs, self.adjoint_cropping(kernel))

    def pad_adjoint(self, kernel: Tensor, outputs: Tensor) -> Tensor:
        """Pads the outputs that the adjoint convolves, without strides."""
        widths = self.adjoint_widths(kernel)
        if self.is_circular:
            return pad_circular(outputs, widths)
        return pad_zeros(outputs, [(0, 0), *widths, (0, 0)])

    def padding_widths(self, kernel: Tensor) -> Padding:
        """Returns the padding of images, if strides divide their sides."""
        if self.padding == "valid":
            return [(0, 0)] * len(self.strides)
        return self.circular_padding(kernel)

    def adjoint_widths(self, kernel: Tensor) -> Padding:
        """Returns the padding of the adjoint, without strides."""
        if self.padding == "valid":
            return [(span - 1, span - 1) for span in self.spans(kernel)]
        return self.adjoint_padding(kernel)

    def adjoint_padding(self, kernel: Tensor) -> Padding:
        """Returns the padding of the adjoint with `"same"`.

        The window of output pixel `i` starts at pixel `strides * i - before`.
        """
        pairs = []
        for span, stride, (before, _) in zip(
            self.spans(kernel),
            self.strides,
            self.circular_padding(kernel),
            strict=True,
        ):
            pairs.append(((span - 1 - before) // stride, -(-before // stride)))
        return pairs

    def adjoint_cropping(self, kernel: Tensor) -> Padding:
        """Returns the cropping of a full transposed convolution.

        With circular padding it includes `adjoint_padding`.
        """
        if self.padding == "valid":
            return [(0, 0)] * len(self.strides)
        pairs = []
        for span, stride, (before, _), (head, tail) in zip(
            self.spans(kernel),
            self.strides,
            self.circular_padding(kernel),
            self.adjoint_padding(kernel),
            strict=True,
        ):
            if not self.is_circular:
                head = tail = 0
            end = max(span, stride) - stride - before
            pairs.append((before + stride * head, end + stride * tail))
        return pairs

    def spans(self, kernel: Tensor) -> tuple[int, ...]:
        """Returns the number of pixels that the window spans on each axis."""
        return tuple(
            (taps - 1) * rate + 1
            for taps, rate in zip(
                kernel.shape[:-2], self.dilation_rate, strict=True
            )
        )

    @property
    def is_circular(self) -> bool:
        """Whether images are padded periodically."""
        return self.padding == "same" and self.padding_mode == "circular"

    def circular_padding(self, kernel: Tensor) -> Padding:
        """Returns the widths of `"same"` padding, if strides divide sides."""
        pairs = []
        for span, stride in zip(self.spans(kernel), self.strides, strict=True):
            total = max(span - stride, 0)
            pairs.append((total // 2, total - total // 2))
        return pairs

    def check_sides(self, sides: Shape) -> None:
        """Raises an error if circular padding does not fit the image sides.

        Args:
            sides: Sides of the images, `None` where they are unknown.

        Raises:
            ValueError: If strides do not divide a side, or a side is unknown.
        """
        for side, stride in zip(sides, self.strides, strict=True):
            if self.is_circular and stride > 1 and (not side or side % stride):
                raise ValueError(
                    "Circular padding with strides needs images of known "
                    "sides that are multiples of the strides. Received: "
                    f"strides={self.strides}, images of sides {tuple(sides)}"
                )


def adjoint_kernel(kernel: Tensor) -> Tensor:
    """Returns the kernel of the adjoint of a convolution without strides.

    Args:
        kernel: Tensor of shape `(*window, in_channels, filters)`.

    Returns:
        Tensor of shape `(*window, filters, in_channels)`.
    """
    flipped = flip(kernel, range(len(kernel.shape) - 2))
    return ops.swapaxes(flipped, -2, -1)
