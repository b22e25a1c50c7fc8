"""Two-dimensional convolution with a block reflector at each frequency."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_lip.layers.convolutional.fourier_conv import FourierConv
from keras_lip.layers.residual.residual_scale import check_scale
from keras_lip.linalg import complex_reflector
from keras_lip.linalg import split_phases
from keras_lip.operators import pad_zeros
from keras_lip.parametrizations.block_reflector import reflected_rank
from keras_lip.types import Config
from keras_lip.types import Shape
from keras_lip.types import Tensor
from keras_lip.validation import check_number


@keras.saving.register_keras_serializable(package="keras_lip")
class BROConv2D(FourierConv):
    """2D orthogonal convolution with a block reflector at each frequency.

    A circular convolution multiplies each frequency of the image by a matrix
    that acts on the channels. The free kernel gives a matrix `V` with few
    columns at each frequency. The layer multiplies by the block reflector `I -
    2 V (V^H V)^{-1} V^H` (block reflector orthogonal layer, BRO). The reflector
    is unitary, needs only low-rank weights and is computed without iteration.
    The whole convolution is orthogonal: it preserves the l2 norm of its input
    if `filters` is at least `channels * prod(strides)`, and the l2 norm of the
    gradient if it is at most that. If the two numbers differ, `V` has as many
    rows as the larger one, and rows or columns of the reflector are dropped.

    If the columns of `V` are linearly dependent, the layer may shrink some
    directions. For any weights it is 1-Lipschitz in the l2 norm.

    With a `residual_scale`, `V` is computed from the kernel `identity +
    residual_scale * gamma * W`. Here `W` is the free kernel, `gamma` is a
    trained factor for each row, and the identity is a kernel whose only nonzero
    tap reads the pixel itself.

    The free kernel has the size of the window. The resulting convolution
    spreads over the whole image and depends on the image size, which is fixed
    when the layer is built. The weights fit images of any size and give a
    convolution that is orthogonal for that size.

    Strides are implemented by invertible downsampling: each block of pixels
    becomes the channels of one pixel, and the window covers the blocks that it
    overlaps.

    Args:
        filters: Positive integer. Number of output channels.
        kernel_size: Positive integer, or a pair: height and width of the
            window.
        strides: Positive integer, or a pair. Strides must divide the sides of
            the image. Defaults to `1`.
        padding: `"same"`, the only choice. Defaults to `"same"`.
        data_format: `"channels_last"` or `"channels_first"`. Defaults to
            `None`, for `keras.config.image_data_format()`.
        activation: Activation function. Its Lipschitz constant must be known
            and multiplies the layer's bound. Defaults to `None`.
        use_bias: Boolean. Whether the layer adds a bias. Defaults to `True`.
        kernel_initializer: Initializer of the free kernel. Defaults to
            `"orthogonal"`.
        bias_initializer: Initializer of the bias. Defaults to `"zeros"`.
        kernel_regularizer: Regularizer of the free kernel. Defaults to `None`.
        bias_regularizer: Regularizer of the bias. Defaults to `None`.
        padding_mode: `"circular"`, the only choice. Defaults to `"circular"`.
        rank_ratio: Float, greater than 0 and at most 1. Fraction of the
            dimensions that are reflected. The number of reflected dimensions is
            rounded down, but it is at least one and at most one less than all.
            Defaults to `0.5`.
        residual_scale: Float or `None`. Factor of the free kernel `W` when it
            is added to the identity. The paper uses one over the square root of
            the number of layers. Defaults to `None`: the free kernel is used
            directly.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        ValueError: If an argument is out of range, the activation has no known
            bound, the size of the images is not known when the layer is built,
            or strides do not divide it.

    Input shape:
        `(batch_size, height, width, channels)`, or with `"channels_first"`
        `(batch_size, channels, height, width)`.

    Output shape:
        `(batch_size, height // stride, width // stride, filters)`, or with
        `"channels_first"` the channels come second.

    Example:

    >>> layer = keras_lip.layers.BROConv2D(8, 3)
    >>> tuple(layer(np.ones((2, 6, 6, 4))).shape)
    (2, 6, 6, 8)

    Reference:

    - [Lai et al., 2025](https://arxiv.org/abs/2505.15174), on the block
      reflector orthogonal layer
    """

    guarantee = "orthogonal"

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str = "same",
        data_format: str | None = None,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        *,
        padding_mode: str = "circular",
        rank_ratio: float = 0.5,
        residual_scale: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            filters,
            kernel_size,
            strides=strides,
            padding=padding,
            data_format=data_format,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            padding_mode=padding_mode,
            **kwargs,
        )
        self.rank_ratio = check_number(
            "rank_ratio", rank_ratio, 0.0, 1.0, open_low=True
        )
        self.residual_scale = residual_scale
        if residual_scale is not None:
            self.residual_scale = check_scale(residual_scale, "residual_scale")

    def _add_kernel(self, channels: int, sides: Shape) -> None:
        self._rows = channels * math.prod(self.strides)
        super()._add_kernel(channels, sides)
        if self.residual_scale is not None:
            self.gamma = self.add_weight(
                name="gamma",
                shape=(max(self._rows, self.filters),),
                initializer="ones",
                autocast=False,
            )

    def _free_shape(self, channels: int) -> tuple[int, ...]:
        size = max(self._rows, self.filters)
        rank = reflected_rank(size, self.rank_ratio)
        if self._rows >= self.filters:
            return (*self.kernel_size, channels, rank)
        # Outputs are not phases of an image: the window covers blocks.
        blocks = (
            -(-taps // stride)
            for taps, stride in zip(self.kernel_size, self.strides, strict=True)
        )
        return (*blocks, size, rank)

    def _block_kernel(self) -> Tensor:
        kernel = ops.convert_to_tensor(self.free_kernel)
        if self._rows >= self.filters:
            kernel = split_phases(kernel, self.strides)
        if self.residual_scale is None:
            return kernel
        height, width, size, rank = kernel.shape
        identity = ops.eye(size, rank, dtype=kernel.dtype)[None, None]
        widths = [((taps - 1) // 2, taps // 2) for taps in (height, width)]
        identity = pad_zeros(identity, [*widths, (0, 0), (0, 0)])
        gamma = ops.convert_to_tensor(self.gamma) * self.residual_scale
        return identity + kernel * gamma[:, None]

    def _constrain_spectrum(
        self, real: Tensor, imaginary: Tensor
    ) -> tuple[Tensor, Tensor]:
        return complex_reflector(real, imaginary, self._rows, self.filters)

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "rank_ratio": self.rank_ratio,
            "residual_scale": self.residual_scale,
        }
