"""Dense and convolutional layers."""

import functools
import math
from typing import Any

import numpy as np
from keras import layers
from keras import ops

from keras_lip.program.builder import Wire
from keras_lip.program.freezing.activations import activate
from keras_lip.program.freezing.checks import unknown_layer
from keras_lip.program.freezing.reading import channels_back
from keras_lip.program.freezing.reading import channels_last
from keras_lip.program.freezing.reading import read_bias
from keras_lip.program.freezing.registry import register_freezer
from keras_lip.program.nodes.convolution import Convolution
from keras_lip.program.nodes.dense import Dense
from keras_lip.program.nodes.einsum import Einsum
from keras_lip.program.nodes.host_convolution import pad_width
from keras_lip.program.nodes.transposed_convolution import TransposedConvolution
from keras_lip.read_weight import read_kernel
from keras_lip.types import Array


@register_freezer(layers.Dense)
def _(layer: Any, x: Wire) -> Wire:
    kernel = read_kernel(layer, layer.kernel)
    return activate(x.then(Dense(kernel, read_bias(layer))), layer.activation)


@register_freezer(layers.EinsumDense)
def _(layer: Any, x: Wire) -> Wire:
    kernel = read_kernel(layer, layer.kernel)
    bias = None if layer.bias is None else read_kernel(layer, layer.bias)
    equation = layer.equation.replace(" ", "")
    axes = layer.bias_axes or ""
    if "..." in equation:
        if x.shape is None:
            raise unknown_layer(layer, "its equation has an ellipsis")
        # Replaces the ellipsis, including the batch axis, by letters.
        source = equation.split(",")[0]
        spare = (c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in equation)
        count = len(x.shape) + 1 - len(source.replace("...", ""))
        equation = equation.replace(
            "...", "".join(next(spare) for _ in range(count))
        )
    letters = equation.split(",")
    sizes = dict(zip(letters[0][1:], x.shape or (), strict=False))
    sizes |= dict(zip(letters[1].split("->")[0], kernel.shape, strict=True))
    # The bias has its letters in the order of the output, with axes of size one
    # between them.
    order = "".join(c for c in equation.split("->")[1] if c in axes)
    if bias is not None:
        wanted = [sizes.get(c) for c in order]
        if None in wanted or math.prod(map(int, wanted)) != bias.size:  # type: ignore[arg-type]
            raise unknown_layer(
                layer,
                f"its bias of shape {bias.shape} does not fit its outputs, of "
                f"input shape {(None, *(x.shape or ()))}",
            )
        bias = bias.reshape(wanted)
    node = Einsum(kernel, bias, equation, "" if bias is None else order)
    if not node.is_known():
        raise unknown_layer(layer, f"its equation is {layer.equation!r}")
    return activate(x.then(node), layer.activation)


def _convolution(
    layer: Any, kernel: Array, bias: Array | None, groups: int, dilation: Any
) -> Convolution:
    strides, dilation = tuple(layer.strides), tuple(dilation)
    spans = [
        (taps - 1) * rate + 1
        for taps, rate in zip(kernel.shape[:-2], dilation, strict=True)
    ]
    widths: Any = None
    if layer.padding in ("valid", "causal"):
        widths = tuple(pad_width(0, span, 1, layer.padding) for span in spans)
    elif max(strides) == 1:
        widths = tuple(pad_width(span, span, 1, "same") for span in spans)
    return Convolution(kernel, bias, strides, dilation, groups, widths)


@register_freezer(layers.Conv1D, layers.Conv2D)
def _(layer: Any, x: Wire) -> Wire:
    node = _convolution(
        layer,
        read_kernel(layer, layer.kernel),
        read_bias(layer),
        layer.groups,
        layer.dilation_rate,
    )
    outputs = channels_last(x, layer).then(node)
    return channels_back(activate(outputs, layer.activation), layer)


def _depthwise(layer: Any, kernel: Array, bias: Array | None) -> Convolution:
    # `(*window, in, multiplier)` is `(*window, 1, in * multiplier)` in groups.
    *window, channels, _ = kernel.shape
    grouped = kernel.reshape(*window, 1, -1)
    return _convolution(layer, grouped, bias, channels, layer.dilation_rate)


@register_freezer(layers.DepthwiseConv1D, layers.DepthwiseConv2D, norms=("l2",))
def _(layer: Any, x: Wire) -> Wire:
    kernel = read_kernel(layer, layer.kernel)
    node = _depthwise(layer, kernel, read_bias(layer))
    outputs = channels_last(x, layer).then(node)
    return channels_back(activate(outputs, layer.activation), layer)


@register_freezer(layers.SeparableConv1D, layers.SeparableConv2D, norms=("l2",))
def _(layer: Any, x: Wire) -> Wire:
    depthwise = read_kernel(layer, layer.depthwise_kernel)
    pointwise = read_kernel(layer, layer.pointwise_kernel)
    ones = (1,) * len(layer.strides)
    outputs = channels_last(x, layer).then(_depthwise(layer, depthwise, None))
    outputs = outputs.then(
        Convolution(
            pointwise, read_bias(layer), ones, ones, 1, ((0, 0),) * len(ones)
        )
    )
    return channels_back(activate(outputs, layer.activation), layer)


@register_freezer(layers.Conv1DTranspose, layers.Conv2DTranspose, norms=("l2",))
def _(layer: Any, x: Wire) -> Wire:
    kernel = read_kernel(layer, layer.kernel)
    strides, dilation = tuple(layer.strides), tuple(layer.dilation_rate)
    extra = layer.output_padding
    pads = (extra,) * len(strides) if isinstance(extra, int | None) else extra
    cropping = tuple(
        _transposed_cropping(taps, stride, rate, layer.padding, more)
        for taps, stride, rate, more in zip(
            kernel.shape[:-2], strides, dilation, pads, strict=True
        )
    )
    node = TransposedConvolution(
        kernel,
        read_bias(layer),
        strides,
        dilation,
        1,
        ((0, 0),) * len(strides),
        cropping,
    )
    outputs = channels_last(x, layer).then(node)
    return channels_back(activate(outputs, layer.activation), layer)


@functools.cache
def _transposed_cropping(
    taps: int, stride: int, rate: int, padding: str, extra: int | None
) -> tuple[int, int]:
    """Measures the pixels that Keras crops from a transposed convolution.

    The pixels that `"same"` keeps depend on the backend and its version. The
    function applies the convolution to one pixel, and finds the taps of the
    kernel in the output.
    """
    span = (taps - 1) * rate + 1
    numbers = np.arange(1.0, taps + 1).astype("float32").reshape(-1, 1, 1)
    sides = 2 * span + 2
    image = np.zeros((1, sides, 1), "float32")
    image[0, span] = 1.0
    outputs = ops.convert_to_numpy(
        ops.conv_transpose(
            ops.convert_to_tensor(image),
            ops.convert_to_tensor(numbers),
            stride,
            padding,
            extra,
            "channels_last",
            rate,
        )
    )[0, :, 0]
    before = span * stride - int(np.argmax(np.round(outputs) == 1))
    whole = (sides - 1) * stride + max(span, stride)
    return before, whole - before - len(outputs)
