"""Convolutions with fast gradients, also in loops.

This is one of the few files that branch on the backend.
"""

import math

import keras
from keras import ops

from keras_lip.flip import flip
from keras_lip.operators.padding import crop_images
from keras_lip.operators.padding import pad_zeros
from keras_lip.scan import is_scanning
from keras_lip.traces import is_eager_torch
from keras_lip.types import Tensor


def convolve(
    inputs: Tensor,
    kernel: Tensor,
    strides: tuple[int, ...],
    padding: str,
    dilation_rate: tuple[int, ...],
) -> Tensor:
    """Computes `keras.ops.conv` of images of shape `(*image, channels)`.

    XLA converts convolutions to the form of its CPU routines, but not in the
    body of a loop. JAX writes gradients of convolutions with swapped axes, so
    in a loop they run about ten times slower (JAX 0.10). In loops on CPUs this
    function writes them in the fast form. It then has no forward-mode
    derivatives (`jax.jvp`). Outside of loops, a `"valid"` convolution of images
    of 34 x 34 pixels takes four times as long as a `"same"` one (jaxlib 0.10),
    whose border is therefore cropped.

    On PyTorch, Keras (3.15) copies images into PyTorch's order of axes, and
    they are then copied back into the memory order that PyTorch's routines use.
    Images whose axes are only renamed are in this memory order already, so they
    are not copied here.

    Args:
        inputs: Tensor of shape `(batch_size, *image, channels)`.
        kernel: Tensor of shape `(*window, channels // groups, filters)`.
        strides: Tuple of positive integers.
        padding: `"same"` or `"valid"`.
        dilation_rate: Tuple of positive integers.
    """
    plain = math.prod(strides) * math.prod(dilation_rate) == 1
    if plain and _is_jax_on_cpu():
        widths = _same_widths(kernel, dilation_rate)
        if is_scanning() and kernel.shape[-2] == inputs.shape[-1]:
            if padding == "same":
                inputs = pad_zeros(inputs, [(0, 0), *widths, (0, 0)])
            return _convolve_in_loop(inputs, kernel)
        fits = all(
            side >= taps
            for side, taps in zip(
                inputs.shape[1:-1], kernel.shape[:-2], strict=True
            )
        )
        if padding == "valid" and len(widths) == 2 and fits:
            outputs = ops.conv(
                inputs, kernel, padding="same", data_format="channels_last"
            )
            return crop_images(outputs, widths)
    if is_eager_torch(inputs):
        if padding == "valid":
            return _convolve_in_torch(
                inputs, kernel, strides, dilation_rate, [(0, 0)] * len(strides)
            )
        if math.prod(strides) == 1:
            widths = _same_widths(kernel, dilation_rate)
            return _convolve_in_torch(
                inputs, kernel, strides, dilation_rate, widths
            )
    if keras.backend.backend() == "tensorflow" and inputs.shape[0] == 0:
        # TensorFlow (2.21, on CPUs) would return images of the same size as the
        # inputs.
        image = _output_sides(inputs, kernel, strides, padding, dilation_rate)
        return ops.zeros((0, *image, kernel.shape[-1]), dtype=inputs.dtype)
    return ops.conv(
        inputs,
        kernel,
        strides=strides,
        padding=padding,
        dilation_rate=dilation_rate,
        data_format="channels_last",
    )


def _same_widths(
    kernel: Tensor, dilation_rate: tuple[int, ...]
) -> list[tuple[int, int]]:
    """Returns the `"same"` padding before and after, without strides."""
    totals = [
        (taps - 1) * rate
        for taps, rate in zip(kernel.shape[:-2], dilation_rate, strict=True)
    ]
    return [(total // 2, total - total // 2) for total in totals]


def _output_sides(
    inputs: Tensor,
    kernel: Tensor,
    strides: tuple[int, ...],
    padding: str,
    dilation_rate: tuple[int, ...],
) -> list[int]:
    sides = []
    for side, taps, stride, rate in zip(
        inputs.shape[1:-1],
        kernel.shape[:-2],
        strides,
        dilation_rate,
        strict=True,
    ):
        outside = (taps - 1) * rate if padding == "valid" else 0
        sides.append(-(-(side - outside) // stride))
    return sides


@ops.custom_gradient
def _convolve_in_loop(inputs, kernel):  # type: ignore[no-untyped-def]
    image = tuple(range(1, len(kernel.shape) - 1))
    last = len(image) + 1

    def grad(*args, upstream=None):  # type: ignore[no-untyped-def]
        (upstream,) = args if upstream is None else (upstream,)
        widths = [(taps - 1, taps - 1) for taps in kernel.shape[:-2]]
        flipped = flip(kernel, range(len(image)))
        inputs_grad = _convolve_valid(
            pad_zeros(upstream, [(0, 0), *widths, (0, 0)]),
            ops.swapaxes(flipped, -2, -1),
        )
        # Samples and channels are swapped here.
        kernel_grad = _convolve_valid(
            ops.transpose(inputs, (last, *image, 0)),
            ops.transpose(upstream, (*image, 0, last)),
        )
        return inputs_grad, ops.transpose(kernel_grad, (*image, 0, last))

    return _convolve_valid(inputs, kernel), grad


def _convolve_valid(inputs: Tensor, kernel: Tensor) -> Tensor:
    return ops.conv(
        inputs, kernel, padding="valid", data_format="channels_last"
    )


def _convolve_in_torch(
    inputs: Tensor,
    kernel: Tensor,
    strides: tuple[int, ...],
    dilation_rate: tuple[int, ...],
    widths: list[tuple[int, int]],
) -> Tensor:
    import torch

    kernel = ops.convert_to_tensor(kernel)
    convolve = {1: torch.nn.functional.conv1d, 2: torch.nn.functional.conv2d}
    if any(before != after for before, after in widths):
        inputs = pad_zeros(inputs, [(0, 0), *widths, (0, 0)])
        widths = [(0, 0)] * len(widths)
    groups = inputs.shape[-1] // kernel.shape[-2]
    outputs = convolve[len(widths)](
        inputs.movedim(-1, 1),
        # PyTorch (2.13) cannot compute the gradient of some kernels with one
        # filter that are contiguous in another order.
        kernel.movedim((-1, -2), (0, 1)).contiguous(),
        stride=strides,
        padding=[before for before, _ in widths],
        dilation=dilation_rate,
        groups=groups,
    )
    return outputs.movedim(1, -1)


def _is_jax_on_cpu() -> bool:
    if keras.backend.backend() != "jax":
        return False
    import jax

    return jax.default_backend() == "cpu"
