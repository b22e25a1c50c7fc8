"""Two-dimensional convolution divided by the norm of its operator."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_lip.layers.convolutional.estimated_norm_conv import EstimatedNormConv
from keras_lip.linalg import scale_to_one
from keras_lip.types import Tensor


@keras.saving.register_keras_serializable(package="keras_lip")
class OSSNConv2D(EstimatedNormConv):
    """2D convolution divided by an estimate of its operator norm.

    The power method runs on the convolution itself, with its strides and its
    padding, rather than on the reshaped kernel (one-sided spectral
    normalization, OSSN): by one iteration a training step, from the image where
    the last one ended, which is a non-trainable weight, and by 100 iterations
    from there at inference. Weights that are loaded from a file of another
    image size start it afresh. The estimate lies below the norm, so that the
    layer may exceed one by its error; `lipschitz_bound` measures the kernel
    that runs at inference, for images of any size, and
    `keras_lip.models.materialize` with `proven=True` writes down a kernel that
    is proven not to exceed one.

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

    >>> layer = keras_lip.layers.OSSNConv2D(8, 3)
    >>> tuple(layer(np.ones((2, 6, 6, 4))).shape)
    (2, 6, 6, 8)

    Reference:

    - [Gouk et al., 2021](https://arxiv.org/abs/1804.04368), section 4
    - [Li et al., 2019](https://arxiv.org/abs/1911.00937), section 6
    """

    guarantee = "norm one by an estimate"

    def __init__(
        self, filters: int, kernel_size: int | Sequence[int], **kwargs: Any
    ) -> None:
        super().__init__(2, filters, kernel_size, **kwargs)

    def scale(self, kernel: Tensor) -> Tensor:
        return scale_to_one(kernel, axis=None)

    def divide(self, kernel: Tensor, norm: Tensor) -> Tensor:
        # The norm is at least the largest entry that meets a pixel, and so one
        # unless the kernel vanishes.
        return kernel / ops.maximum(norm, 1e-12)
