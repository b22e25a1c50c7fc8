"""The 2D convolution with clipped singular values."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lip.layers.convolutional.explicit_conv import ExplicitConv
from keras_lip.layers.convolutional.kernel_maps import ClippedNorm
from keras_lip.linalg import merge_phases
from keras_lip.linalg import split_phases
from keras_lip.read_weight import read_weight
from keras_lip.types import Array
from keras_lip.validation import check_positive_integer


@keras.saving.register_keras_serializable(package="keras_lip")
class SVCMConv2D(ExplicitConv):
    """2D convolution whose singular values are regularly clipped to one.

    `clip_singular_values` alternates two projections of the kernel (singular
    value clipping and masking, SVCM): onto the convolutions of norm at most
    one, by the Fourier transform and a singular value decomposition at each
    frequency, and onto the kernels with this window.
    `keras_lip.callbacks.SVCMClipping` calls it every n steps. The norm may
    still exceed one, between these steps and because of the second projection.
    The kernel is therefore also divided by an estimate of its norm, as in
    `OSSNConv2D`, if that exceeds one. If weights are loaded for another image
    size, the estimate restarts. `lipschitz_bound` is computed from the kernel
    used at inference, for images of any size. `keras_lip.models.materialize`
    with `proven=True` gives a kernel whose norm is proven to be at most one.

    Args:
        filters: Positive integer. Number of output channels.
        kernel_size: Positive integer, or a pair: height and width of the
            window.
        strides: Positive integer, or a pair. With circular padding, strides
            must divide the sides of the image. Defaults to `1`.
        padding: `"same"` or `"valid"`. Defaults to `"same"`.
        data_format: `"channels_last"` or `"channels_first"`. Defaults to
            `None`, for `keras.config.image_data_format()`.
        dilation_rate: Positive integer, or a pair. Incompatible with `strides >
            1`. Defaults to `1`.
        activation: Activation function. Its Lipschitz constant must be known
            and multiplies the layer's bound. Defaults to `None`.
        use_bias: Boolean. Whether the layer adds a bias. Defaults to `True`.
        kernel_initializer: Initializer of the free kernel. Defaults to
            `"orthogonal"`.
        bias_initializer: Initializer of the bias. Defaults to `"zeros"`.
        kernel_regularizer: Regularizer of the free kernel. Defaults to `None`.
        bias_regularizer: Regularizer of the bias. Defaults to `None`.
        padding_mode: `"circular"` or `"zeros"`. Values of the padding with
            `"same"`: pixels of the opposite side of the image, or zeros.
            Defaults to `"circular"`.
        training_iterations: Positive integer. Number of iterations of the power
            method in a training step. Defaults to `1`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        ValueError: If an argument is out of range, the activation has no known
            bound, or strides do not divide the sides of an image with circular
            padding.

    Input shape:
        `(batch_size, height, width, channels)`, or with `"channels_first"`
        `(batch_size, channels, height, width)`.

    Output shape:
        `(batch_size, new_height, new_width, filters)`, or with
        `"channels_first"` `(batch_size, filters, new_height, new_width)`.
        With `"same"`, a side is `ceil(side / stride)`.

    Example:

    >>> layer = keras_lip.layers.SVCMConv2D(8, 3)
    >>> tuple(layer(np.ones((2, 6, 6, 4))).shape)
    (2, 6, 6, 8)

    Reference:

    - [Sedghi et al., 2019](https://arxiv.org/abs/1805.10408), section 3
    - [Li et al., 2019](https://arxiv.org/abs/1911.00937), sections 4.1 and
      5.2.2
    """

    guarantee = "norm one by an estimate"

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str = "same",
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        *,
        padding_mode: str = "circular",
        training_iterations: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            2,
            ClippedNorm(training_iterations),
            filters,
            kernel_size,
            strides=strides,
            padding=padding,
            data_format=data_format,
            dilation_rate=dilation_rate,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            padding_mode=padding_mode,
            **kwargs,
        )

    def clip_singular_values(self, rounds: int = 1) -> None:
        """Projects the kernel towards singular values of at most one.

        Args:
            rounds: Positive integer. Number of rounds of clipping and masking.
                Defaults to `1`.
        """
        rounds = check_positive_integer("rounds", rounds)
        sides = self.state["power_iteration_vector"].shape[1:-1]
        kernel = read_weight(self.free_kernel)
        for _ in range(rounds):
            kernel = _clip(kernel, self.strides, sides)
        self.free_kernel.assign(kernel.astype("float32"))


def _clip(
    kernel: Array, strides: tuple[int, ...], sides: tuple[int, ...]
) -> Array:
    """Clips at all frequencies of an image, and crops to the window.

    Strides turn the phases of the image into channels.
    """
    window = kernel.shape[:2]
    kernel = ops.convert_to_numpy(split_phases(kernel, strides))
    taps = kernel.shape[:2]
    sizes = [
        max(side // stride, size)
        for side, stride, size in zip(sides, strides, taps, strict=True)
    ]
    spectrum = np.fft.fft2(kernel, s=sizes, axes=(0, 1))
    left, values, right = np.linalg.svd(spectrum, full_matrices=False)
    spectrum = (left * np.minimum(values, 1.0)[..., None, :]) @ right
    kernel = np.fft.ifft2(spectrum, axes=(0, 1)).real
    kernel = kernel[: taps[0], : taps[1]].astype("float32")
    return ops.convert_to_numpy(merge_phases(kernel, window, strides))
