"""The linear map of a convolutional layer."""

import dataclasses

from keras import ops

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
    """Convolves images of shape `(*image, channels)`, as `Conv1D` or `Conv2D`.

    The kernel has the shape `(*window, in_channels // groups, filters)`.

    Args:
        strides: Tuple of positive integers, one for each axis of the window.
            Defaults to `(1, 1)`.
        padding: `"same"` or `"valid"`. Defaults to `"same"`.
        padding_mode: `"circular"` or `"zeros"`. What `"same"` pads with.
            Defaults to `"circular"`.
        dilation_rate: Tuple of positive integers. Incompatible with strides.
            Defaults to `(1, 1)`.
        groups: Positive integer. Number of groups of channels. The adjoint is
            defined for one. Defaults to `1`.
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

        The inputs have the smallest sides that give outputs of these sides or,
        with `"same"`, that are multiples of the strides.
        """
        if max(self.strides) == 1:
            # Backends convolve faster than they transpose a convolution.
            return convolve(
                self.pad_adjoint(kernel, outputs),
                adjoint_kernel(kernel),
                self.strides,
                "valid",
                self.dilation_rate,
            )
        if self.is_circular:
            outputs = pad_circular(outputs, self.adjoint_padding(kernel))
        # Which pixels `"same"` keeps depends on the backend and on the version
        # of Keras.
        inputs = ops.conv_transpose(
            outputs,
            kernel,
            strides=self.strides,
            padding="valid",
            data_format="channels_last",
        )
        return crop_images(inputs, self.adjoint_cropping(kernel))

    def pad_adjoint(self, kernel: Tensor, outputs: Tensor) -> Tensor:
        """Pads what the adjoint convolves, without strides."""
        widths = self.adjoint_widths(kernel)
        if self.is_circular:
            return pad_circular(outputs, widths)
        return pad_zeros(outputs, [(0, 0), *widths, (0, 0)])

    def padding_widths(self, kernel: Tensor) -> Padding:
        """Returns how far images are padded, where strides divide them."""
        if self.padding == "valid":
            return [(0, 0)] * len(self.strides)
        return self.circular_padding(kernel)

    def adjoint_widths(self, kernel: Tensor) -> Padding:
        """Returns how far the adjoint pads its images, without strides."""
        if self.padding == "valid":
            return [(span - 1, span - 1) for span in self.spans(kernel)]
        return self.adjoint_padding(kernel)

    def adjoint_padding(self, kernel: Tensor) -> Padding:
        """Returns how far the adjoint of `"same"` looks beyond its images.

        Pixel `i` meets the pixels from `strides * i - before` on, as many as
        the window spans.
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
        """Returns what to cut off a transposed convolution of all pixels.

        With circular padding, these include those of `adjoint_padding`.
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
        """Returns how many pixels the window spans along each axis."""
        return tuple(
            (taps - 1) * rate + 1
            for taps, rate in zip(
                kernel.shape[:-2], self.dilation_rate, strict=True
            )
        )

    @property
    def is_circular(self) -> bool:
        """Whether images are continued periodically."""
        return self.padding == "same" and self.padding_mode == "circular"

    def circular_padding(self, kernel: Tensor) -> Padding:
        """Returns what `"same"` pads sides with that the strides divide."""
        pairs = []
        for span, stride in zip(self.spans(kernel), self.strides, strict=True):
            total = max(span - stride, 0)
            pairs.append((total // 2, total - total // 2))
        return pairs

    def check_sides(self, sides: Shape) -> None:
        """Refuses images that their circular continuation does not fit.

        Args:
            sides: Sides of the images, `None` where they are not known.

        Raises:
            ValueError: If strides do not divide a side, or it is not known.
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
    axes = tuple(range(len(kernel.shape) - 2))
    return ops.swapaxes(ops.flip(kernel, axis=axes), -2, -1)
