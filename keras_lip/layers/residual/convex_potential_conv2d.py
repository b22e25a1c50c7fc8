"""The convex potential layer for images."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lip.held_values import compute_once
from keras_lip.layers.residual.base_hidden_conv2d import BaseHiddenConv2D
from keras_lip.layers.residual.potential_step import add_fixed_step
from keras_lip.layers.residual.potential_step import check_steps
from keras_lip.layers.residual.potential_step import estimate_step
from keras_lip.layers.residual.potential_step import longest_step
from keras_lip.layers.residual.potential_step import running_kernel
from keras_lip.linalg import start_vector
from keras_lip.operators import ConvolutionOperator
from keras_lip.read_weight import read_kernel
from keras_lip.types import Array
from keras_lip.types import Config
from keras_lip.types import Shape
from keras_lip.types import Tensor

# Smallest side of the image on which the norm is estimated. The bound must hold
# for images of any size, and on smaller images the norm may be much smaller.
_LEAST_SIDE = 32


@keras.saving.register_keras_serializable(package="keras_lip")
class ConvexPotentialConv2D(BaseHiddenConv2D):
    """Residual convolutional block that is 1-Lipschitz by convexity.

    The layer computes `x - h * K^T s(K x + b)`, where `K` is a convolution with
    strides of one, `K^T` its exact transpose with the same kernel and padding,
    and `s` a non-decreasing 1-Lipschitz activation. It is one step of length
    `h` down the gradient of a convex potential, and 1-Lipschitz in the l2 norm
    for every step of at most `2 / |K|^2`, with any padding and for images of
    any size. The default is `2 / max(|K|, 0.1)^2`: the longest such step, but
    at most 200. With a zero kernel the block is the identity. It can train from
    there if its bias is not zero.

    `|K|` is then estimated by the power method on a periodic image. The image
    has the size that the layer is built for, but at least 32 x 32. Each
    training step runs one iteration and stores the resulting image in a
    non-trainable weight; inference runs 100 iterations from that image. If
    weights are loaded for another image size, the power method restarts. The
    estimate is smaller than the norm for images of any size, often by half a
    percent, so the step may be too long: `lipschitz_bound` is `max(1, h |K|^2 -
    1)` for the step `h` used at inference. `keras_lip.models.fix_steps` returns
    a model whose steps are proven to be short enough. With a `step_fraction`
    below one the step is `2 * step_fraction / max(|K|, 0.1)^2`. The bound is
    then one if the squared estimate is at least `step_fraction * |K|^2`.

    A given `step` stays fixed while `K` changes (relaxed training). It is a
    non-trainable weight. If it is longer than `2 / |K|^2`, the bound is `h
    |K|^2 - 1`, which is above one.

    If an entry of the kernel exceeds 1e6, the layer scales the kernel down so
    that its largest entry is 1e6. Otherwise its computations might overflow.

    Args:
        hidden_filters: Positive integer. Number of hidden channels.
        kernel_size: Positive integer, or a pair: height and width of the
            window.
        padding: `"same"` or `"valid"`. Padding of the convolution to the hidden
            channels. Defaults to `"same"`.
        data_format: `"channels_last"` or `"channels_first"`. Defaults to
            `None`, for `keras.config.image_data_format()`.
        activation: Name or function of a non-decreasing 1-Lipschitz activation
            of `keras.activations`. Defaults to `"relu"`.
        kernel_initializer: Initializer of the kernel. Defaults to
            `"glorot_uniform"`.
        bias_initializer: Initializer of the hidden bias. Defaults to `"zeros"`.
        kernel_regularizer: Regularizer of the kernel. Defaults to `None`.
        bias_regularizer: Regularizer of the hidden bias. Defaults to `None`.
        padding_mode: `"circular"` or `"zeros"`. Values of the padding with
            `"same"`: pixels of the opposite side of the image, or zeros.
            Defaults to `"circular"`.
        step: Positive float, or `None`. A given `step` stays fixed while the
            kernel changes. Defaults to `None`, for `2 / max(norm, 0.1)^2` with
            the norm of the kernel.
        step_fraction: Float in (0, 1]. Share of the longest step `2 /
            max(norm, 0.1)^2` that the layer takes if `step` is `None`. Defaults
            to `1.0`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        ValueError: If an argument is out of range, the activation is not known
            to be non-decreasing and 1-Lipschitz, or both `step` and
            `step_fraction` are given.

    Input shape:
        `(batch_size, height, width, channels)`, or with `"channels_first"`
        `(batch_size, channels, height, width)`.

    Output shape:
        Same as the input.

    Example:

    >>> layer = keras_lip.layers.ConvexPotentialConv2D(8, 3)
    >>> tuple(layer(np.ones((2, 6, 6, 4))).shape)
    (2, 6, 6, 4)

    Reference:

    - [Meunier et al., 2022](https://arxiv.org/abs/2110.12690), section 4.1 and
      Algorithm 1; Proposition 4 for shorter steps, and appendix C.1 for a
      fixed step
    """

    def __init__(
        self,
        hidden_filters: int,
        kernel_size: int | Sequence[int],
        padding: str = "same",
        data_format: str | None = None,
        activation: Any = "relu",
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        *,
        padding_mode: str = "circular",
        step: float | None = None,
        step_fraction: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            hidden_filters,
            kernel_size,
            padding=padding,
            data_format=data_format,
            activation=activation,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            padding_mode=padding_mode,
            **kwargs,
        )
        self.step, self.step_fraction = check_steps(step, step_fraction)

    def build(self, input_shape: Shape) -> None:
        super().build(input_shape)
        if self.step is not None:
            self.fixed_step = add_fixed_step(self, self.step)
            return
        first = self.data_format == "channels_first"
        sides = input_shape[2:] if first else input_shape[1:-1]
        sides = [max(side or 0, _LEAST_SIDE) for side in sides]
        self.power_iteration_vector = self.add_weight(
            name="power_iteration_vector",
            shape=(1, *sides, self.kernel.shape[-2]),
            initializer=start_vector,
            trainable=False,
            autocast=False,
            aggregation="only_first_replica",
        )

    def compute_step(self, training: bool = False) -> Tensor:
        """Returns the step `h`. In training it updates the image."""
        if self.step is not None:
            return ops.convert_to_tensor(self.fixed_step)
        return estimate_step(
            ConvolutionOperator(),
            running_kernel(self.kernel),
            self.power_iteration_vector,
            training,
            self.step_fraction,
        )

    def compute_kernels(self, training: bool = False) -> tuple[Tensor, Tensor]:
        return self._scale_kernel(self.compute_step(training))

    @property
    def _is_costly(self) -> bool:
        return self.step is None

    def _constrain(self) -> tuple[Tensor, Tensor, Tensor]:
        step = self.compute_step()
        return (*self._scale_kernel(step), step)

    def _scale_kernel(self, step: Tensor) -> tuple[Tensor, Tensor]:
        kernel = running_kernel(self.kernel)
        return kernel, kernel * ops.cast(step, kernel.dtype)

    def _prove_step(self) -> float:
        kernel, _, step = compute_once(self)
        step = float(read_kernel(self, step))
        if self.step is not None:
            return step
        norm = self._make_up(read_kernel(self, kernel)).constant("l2", None)
        return min(step, longest_step(norm))

    def _fix_config(self, config: Config) -> Config:
        return {**super()._fix_config(config), "step_fraction": 1.0}

    def _read_kernels(self, proven: bool) -> tuple[Array, Array]:
        if not proven:
            return super()._read_kernels(proven)
        kernel, back = self._scale_kernel(np.float32(self._proven_step()))
        return read_kernel(self, kernel), read_kernel(self, back)

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "step": self.step,
            "step_fraction": self.step_fraction,
        }
