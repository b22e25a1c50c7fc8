"""The linear map of a convolutional layer."""

import dataclasses

from keras import ops

from keras_lip.operators.circular_padding import Padding
from keras_lip.operators.circular_padding import fold_circular
from keras_lip.operators.circular_padding import pad_circular
from keras_lip.operators.linear_operator import LinearOperator
from keras_lip.types import Shape
from keras_lip.types import Tensor


@dataclasses.dataclass(frozen=True)
class ConvolutionOperator(LinearOperator):
    """Convolves images of shape `(*image, channels)`, as `Conv1D` or `Conv2D`.

    The kernel has the shape `(*window, in_channels // groups, filters)`.

    Attributes:
        strides: Tuple of positive integers, one for each axis of the window.
        padding: `"same"` or `"valid"`.
        padding_mode: `"zeros"` or `"circular"`: what `"same"` pads with.
        dilation_rate: Tuple of positive integers; of ones where strides are
            not.
        groups: Positive integer. Number of groups of channels; the adjoint is
            defined for one.
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
        return ops.conv(
            inputs,
            kernel,
            strides=self.strides,
            padding=padding,
            dilation_rate=self.dilation_rate,
            data_format="channels_last",
        )

    def adjoint(self, kernel: Tensor, outputs: Tensor) -> Tensor:
        """Applies the adjoint operator, from outputs to inputs.

        The inputs have the smallest sides that give outputs of these sides or,
        with `"same"`, that are multiples of the strides.
        """
        if max(self.strides) == 1:
            # Backends convolve faster than they transpose a convolution.
            return ops.conv(
                self.pad_adjoint(kernel, outputs),
                adjoint_kernel(kernel),
                padding="valid",
                dilation_rate=self.dilation_rate,
                data_format="channels_last",
            )
        inputs = ops.conv_transpose(
            outputs,
            kernel,
            strides=self.strides,
            padding="valid" if self.is_circular else self.padding,
            data_format="channels_last",
        )
        if self.is_circular:
            inputs = fold_circular(inputs, self.circular_padding(kernel))
        return inputs

    def pad_adjoint(self, kernel: Tensor, outputs: Tensor) -> Tensor:
        """Pads what the adjoint convolves, without strides."""
        if self.padding == "valid":
            reach = [
                (taps - 1) * rate
                for taps, rate in zip(
                    kernel.shape[:-2], self.dilation_rate, strict=True
                )
            ]
            widths = [(size, size) for size in reach]
        else:
            # The window is turned round, and its middle with it.
            pairs = self.circular_padding(kernel)
            widths = [(after, before) for before, after in pairs]
        if self.is_circular:
            return pad_circular(outputs, widths)
        return ops.pad(outputs, [(0, 0), *widths, (0, 0)])

    @property
    def is_circular(self) -> bool:
        """Whether images are continued periodically."""
        return self.padding == "same" and self.padding_mode == "circular"

    def circular_padding(self, kernel: Tensor) -> Padding:
        """Returns what `"same"` pads sides with that the strides divide."""
        pairs = []
        for taps, stride, rate in zip(
            kernel.shape[:-2], self.strides, self.dilation_rate, strict=True
        ):
            total = max((taps - 1) * rate + 1 - stride, 0)
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
    """Returns the kernel of the adjoint of a convolution without strides."""
    axes = tuple(range(len(kernel.shape) - 2))
    return ops.swapaxes(ops.flip(kernel, axis=axes), -2, -1)
