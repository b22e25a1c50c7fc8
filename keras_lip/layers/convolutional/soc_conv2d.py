"""The 2D skew orthogonal convolution."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lip.held_values import compute_once
from keras_lip.layers.convolutional.base_conv import BaseConv
from keras_lip.layers.reshaping.invertible_downsampling2d import (
    InvertibleDownsampling2D,
)
from keras_lip.linalg import apply_exponential
from keras_lip.linalg import apply_exponential_fast
from keras_lip.linalg import limit_norm
from keras_lip.linalg import skew_kernel
from keras_lip.operators import ConvolutionOperator
from keras_lip.operators import pad_zeros
from keras_lip.program.builder import Wire
from keras_lip.program.freezing.activations import activate
from keras_lip.program.freezing.reading import channels_back
from keras_lip.program.freezing.reading import channels_last
from keras_lip.program.freezing.reading import read_bias
from keras_lip.program.nodes.affine import Affine
from keras_lip.program.nodes.composite import Exponential
from keras_lip.program.nodes.convolution import Convolution
from keras_lip.program.nodes.selections import Pad
from keras_lip.program.nodes.selections import Slice
from keras_lip.read_weight import read_kernel
from keras_lip.types import Config
from keras_lip.types import Shape
from keras_lip.types import Tensor
from keras_lip.validation import check_known
from keras_lip.validation import check_number
from keras_lip.validation import check_positive_integer


@keras.saving.register_keras_serializable(package="keras_lip")
class SOCConv2D(BaseConv):
    """2D convolution that is the exponential of a skew-symmetric one.

    The layer computes `x + A x + A^2 x / 2! + ...`, where `A` is a convolution
    minus its adjoint (skew orthogonal convolution, SOC). `A` is applied once
    for each term. With `strides > 1` the layer first applies
    `InvertibleDownsampling2D`, which turns the pixels of each block into
    channels; the window then slides over blocks instead of pixels. If there are
    fewer channels than filters, the layer appends zero channels to its inputs.
    If there are more, it drops the last output channels.

    A bound computed from the kernel keeps the norm of `A` below `max_norm`, for
    images of any size and any padding. With the default arguments the
    layer is therefore non-expansive at inference by construction, and
    orthogonal up to 2e-6. It preserves the norm of its inputs if `filters` is
    at least `channels * prod(strides)`, and the norm of gradients if `filters`
    is at most that. With 4, 8 or 12 terms it is non-expansive for a `max_norm`
    of up to 2.828, 3.395 or 3.379. With 5, 6, 9, 10, 13 or 14 terms it may
    expand a little. `lipschitz_bound` is the largest modulus of the polynomial
    used at inference, over all eigenvalues that `A` can have.

    Args:
        filters: Positive integer. Number of output channels.
        kernel_size: Positive odd integer, or a pair: height and width of the
            window.
        strides: Positive integer, or a pair. Strides must divide the sides of
            the image. Defaults to `1`.
        padding: `"same"`, the only supported value: the inputs and outputs of
            `A` have the same size. Defaults to `"same"`.
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
        padding_mode: `"circular"` or `"zeros"`. Values of the padding: pixels
            of the opposite side of the image, or zeros. Defaults to
            `"circular"`.
        train_terms: Positive integer. Number of terms of the exponential in
            training, the first one not counted. It is the degree of the
            polynomial and the number of convolutions. The papers use 5.
            Defaults to `6`, which is our choice.
        eval_terms: Positive integer. Number of terms at inference. The papers
            use 12 and 14. Defaults to `12`, with which the layer is proven
            non-expansive.
        max_norm: Positive float. Upper bound on the norm of `A`. Defaults to
            `2.0`.
        gradient: `"fast"` or `"exact"`. How the gradient of the kernel is
            computed in training: approximately, with one convolution for any
            number of terms, or exactly, with one convolution for each term. The
            gradient of the inputs is exact in both cases. Defaults to `"fast"`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        ValueError: If an argument is out of range, a side of the window is
            even, the activation has no known bound, or strides do not divide
            the sides of the image.

    Input shape:
        `(batch_size, height, width, channels)`, or with `"channels_first"`
        `(batch_size, channels, height, width)`.

    Output shape:
        `(batch_size, height // stride, width // stride, filters)`, or with
        `"channels_first"` the channels come second.

    Example:

    >>> layer = keras_lip.layers.SOCConv2D(8, 3)
    >>> tuple(layer(np.ones((2, 6, 6, 4))).shape)
    (2, 6, 6, 8)

    Reference:

    - [Singla & Feizi, 2021](https://arxiv.org/abs/2105.11417), Theorems 2 and 3
    - [Singla & Feizi, 2022](https://arxiv.org/abs/2211.08453), section 4, for
      the fast gradient
    """

    guarantee = "orthogonal up to truncation"

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
        train_terms: int = 6,
        eval_terms: int = 12,
        max_norm: float = 2.0,
        gradient: str = "fast",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            2,
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
        self.train_terms = check_positive_integer("train_terms", train_terms)
        self.eval_terms = check_positive_integer("eval_terms", eval_terms)
        self.max_norm = check_number("max_norm", max_norm, 0, open_low=True)
        check_known("gradient", gradient, ("fast", "exact"))
        self.gradient = gradient
        if not all(size % 2 for size in self.kernel_size):
            raise ValueError(
                "`kernel_size` must be odd: a skew-symmetric convolution has a "
                f"centre tap. Received: kernel_size={kernel_size}"
            )
        if self.padding != "same":
            raise ValueError(
                '`padding` must be "same": the powers of a convolution need '
                "outputs of the same size as its inputs. Received: "
                f"padding={self.padding!r}"
            )
        self.downsampling = InvertibleDownsampling2D(
            self.strides, "channels_last", dtype=self.dtype_policy
        )

    def _add_kernel(self, channels: int, sides: Shape) -> None:
        self.downsampling.build((None, *sides, channels))
        size = max(channels * math.prod(self.strides), self.filters)
        # It stays in float32 under mixed precision, so that its bound holds.
        self.free_kernel = self.add_weight(
            name="free_kernel",
            shape=(*self.kernel_size, size, size),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            autocast=False,
        )

    @property
    def _operator(self) -> ConvolutionOperator:
        return ConvolutionOperator(padding_mode=self.padding_mode)

    @property
    def _generator(self) -> Tensor:
        """The kernel of the skew-symmetric convolution `A`."""
        kernel = ops.convert_to_tensor(self.free_kernel)
        return limit_norm(skew_kernel(kernel), self.max_norm)

    def _constrain(self) -> Any:
        return self._generator

    def _convolve(self, images: Tensor, training: bool) -> Tensor:
        if math.prod(self.strides) > 1:
            images = self.downsampling(images)
        images = self._pad_channels(images)
        if training:
            kernel = self._generator
        else:
            kernel = compute_once(self)
        kernel = ops.cast(kernel, images.dtype)
        fast = training and self.gradient == "fast"
        exponentiate = apply_exponential_fast if fast else apply_exponential
        terms = self.train_terms if training else self.eval_terms
        outputs = exponentiate(self._operator, kernel, images, terms)
        return outputs[..., : self.filters]

    def _pad_channels(self, images: Tensor) -> Tensor:
        """Appends zero channels, up to the channels of the generator."""
        missing = self.free_kernel.shape[-1] - images.shape[-1]
        if not missing:
            return images
        return pad_zeros(images, [(0, 0), (0, 0), (0, 0), (0, missing)])

    def freeze(self, *inputs: Wire) -> Wire:
        kernel = read_kernel(self, compute_once(self))
        ones = (1, 1)
        generator = Convolution(
            kernel,
            None,
            *(ones, ones, 1),
            tuple(self._operator.padding_widths(kernel)),
            self._operator.is_circular,
        )
        x = channels_last(inputs[0], self)
        if math.prod(self.strides) > 1:
            x = x.through(self.downsampling)
        missing = self.free_kernel.shape[-1] - (x.shape or (0,))[-1]
        if missing and x.shape is not None:
            x = x.then(Pad(((0, 0), (0, 0), (0, missing))))
        x = x.then(Exponential(generator, self.eval_terms))
        if self.filters < self.free_kernel.shape[-1]:
            everywhere = (None, None, None)
            kept = (None, self.filters, None)
            x = x.then(Slice((everywhere, everywhere, kept)))
        bias = read_bias(self)
        if bias is not None:
            x = x.then(Affine(np.ones_like(bias), bias))
        return channels_back(activate(x, self.activation), self)

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "train_terms": self.train_terms,
            "eval_terms": self.eval_terms,
            "max_norm": self.max_norm,
            "gradient": self.gradient,
        }
