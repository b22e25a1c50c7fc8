"""Two-dimensional convolution with clipped singular values."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lip.layers.convolutional.estimated_norm_conv import EstimatedNormConv
from keras_lip.linalg import merge_phases
from keras_lip.linalg import split_phases
from keras_lip.read_weight import read_weight
from keras_lip.types import Array
from keras_lip.types import Tensor
from keras_lip.validation import check_positive_integer


@keras.saving.register_keras_serializable(package="keras_lip")
class SVCMConv2D(EstimatedNormConv):
    """2D convolution whose singular values are clipped to one, now and then.

    `clip_singular_values` projects the kernel: onto the convolutions of norm at
    most one, by the Fourier transform and a singular value decomposition at
    each frequency, and back onto the kernels of this window, in turns (singular
    value clipping and masking, SVCM). `keras_lip.callbacks.SVCMClipping` does
    so every n steps. In between, and for what the window cuts off, the kernel
    is divided by an estimate of its norm, as in `OSSNConv2D`, wherever that
    exceeds one. Weights that are loaded from a file of another image size start
    the estimate afresh. `lipschitz_bound` measures the kernel that runs at
    inference, for images of any size, and `keras_lip.models.materialize` with
    `proven=True` writes down a kernel that is proven not to exceed one.

    Args:
        filters: Positive integer. Number of channels of the output.
        kernel_size: Positive integer, or a pair of them: height and width.
        strides: Positive integer, or a pair. With circular padding, strides
            must divide the sides of the image.
        padding: `"same"` or `"valid"`.
        padding_mode: `"circular"` or `"zeros"`: what `"same"` pads with.
        data_format: `"channels_last"` or `"channels_first"`. Defaults to that
            of the Keras configuration.
        dilation_rate: Positive integer, or a pair. One where strides are not.
        activation: Activation function of a known Lipschitz bound, which
            counts in that of the layer. Defaults to none.
        use_bias: Boolean. Whether the layer adds a bias vector.
        kernel_initializer: Initializer of the free kernel.
        bias_initializer: Initializer of the bias.
        kernel_regularizer: Regularizer of the free kernel.
        bias_regularizer: Regularizer of the bias.
        **kwargs: Passed to `keras.layers.Layer`.

    Raises:
        ValueError: If an argument is out of range, no bound of the activation
            is known, or strides do not divide the sides of an image with
            circular padding.

    Input shape:
        `(batch_size, height, width, channels)`, or with `"channels_first"`
        `(batch_size, channels, height, width)`.

    Output shape:
        As that of `keras.layers.Conv2D`.

    Example:

    >>> layer = keras_lip.layers.SVCMConv2D(8, 3)
    >>> tuple(layer(np.ones((2, 6, 6, 4))).shape)
    (2, 6, 6, 8)

    Reference:

    - [Sedghi et al., 2019](https://arxiv.org/abs/1805.10408), section 3
    - [Li et al., 2019](https://arxiv.org/abs/1911.00937), section 6
    """

    guarantee = "norm one by an estimate"

    def __init__(
        self, filters: int, kernel_size: int | Sequence[int], **kwargs: Any
    ) -> None:
        super().__init__(2, filters, kernel_size, **kwargs)

    def scale(self, kernel: Tensor) -> Tensor:
        return kernel

    def divide(self, kernel: Tensor, norm: Tensor) -> Tensor:
        return kernel / ops.maximum(norm, 1.0)

    def clip_singular_values(self, rounds: int = 1) -> None:
        """Projects the kernel towards singular values of at most one.

        Args:
            rounds: Positive integer. How many times to clip and mask.
        """
        rounds = check_positive_integer("rounds", rounds)
        sides = self.power_iteration_vector.shape[1:-1]
        kernel = read_weight(self.free_kernel)
        for _ in range(rounds):
            kernel = _clip(kernel, self.strides, sides)
        self.free_kernel.assign(kernel.astype("float32"))


def _clip(
    kernel: Array, strides: tuple[int, ...], sides: tuple[int, ...]
) -> Array:
    """Clips at all frequencies of an image, and masks what leaves the window.

    Strides make channels of the image's phases.
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
