"""What the layers of Keras compute at inference."""

import functools
from typing import Any

import keras
import numpy as np
from keras import layers
from keras import ops

from keras_lip.program.builder import Builder
from keras_lip.program.builder import Wire
from keras_lip.program.freezing.activations import activate
from keras_lip.program.freezing.reading import along_axis
from keras_lip.program.freezing.reading import channels_back
from keras_lip.program.freezing.reading import channels_last
from keras_lip.program.freezing.reading import on_images
from keras_lip.program.freezing.reading import read_bias
from keras_lip.program.freezing.reading import round_constant
from keras_lip.program.freezing.reading import sample_axis
from keras_lip.program.freezing.registry import register_freezer
from keras_lip.program.node import known
from keras_lip.program.nodes.affine import Affine
from keras_lip.program.nodes.axis_linear import GlobalPool
from keras_lip.program.nodes.axis_linear import Repeat
from keras_lip.program.nodes.axis_linear import Upsample
from keras_lip.program.nodes.axis_linear import WindowPool
from keras_lip.program.nodes.composite import Mapped
from keras_lip.program.nodes.convolution import Convolution
from keras_lip.program.nodes.dense import Dense
from keras_lip.program.nodes.einsum import Einsum
from keras_lip.program.nodes.elementwise import ExponentialLinear
from keras_lip.program.nodes.elementwise import Rectify
from keras_lip.program.nodes.elementwise import Softmax
from keras_lip.program.nodes.host_convolution import pad_width
from keras_lip.program.nodes.merges import Combine
from keras_lip.program.nodes.merges import Concatenate
from keras_lip.program.nodes.merges import Extremum
from keras_lip.program.nodes.pooling import GlobalMax
from keras_lip.program.nodes.pooling import MaxPool
from keras_lip.program.nodes.selections import Pad
from keras_lip.program.nodes.selections import Reshape
from keras_lip.program.nodes.selections import Slice
from keras_lip.program.nodes.selections import Transpose
from keras_lip.program.nodes.transposed_convolution import TransposedConvolution
from keras_lip.read_weight import read_kernel
from keras_lip.read_weight import read_weight
from keras_lip.types import Array

EVERYWHERE = (None, None, None)


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
            raise _unknown(layer, "its equation has an ellipsis")
        # What stands for the ellipsis, samples included, gets letters.
        source = equation.split(",")[0]
        spare = (c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in equation)
        count = len(x.shape) + 1 - len(source.replace("...", ""))
        equation = equation.replace(
            "...", "".join(next(spare) for _ in range(count))
        )
    letters = equation.split(",")
    sizes = dict(zip(letters[0][1:], x.shape or (), strict=False))
    sizes |= dict(zip(letters[1].split("->")[0], kernel.shape, strict=True))
    # The bias has the letters in the order of the output, and ones between.
    order = "".join(c for c in equation.split("->")[1] if c in axes)
    if bias is not None:
        bias = bias.reshape([sizes[c] for c in order])
    node = Einsum(kernel, bias, equation, "" if bias is None else order)
    if not node.is_known():
        raise _unknown(layer, f"its equation is {layer.equation!r}")
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
    """Returns what Keras cuts off a transposed convolution, by asking it.

    Which pixels `"same"` keeps depends on the backend and on its version. One
    pixel is put in, and the taps of the kernel are found in what comes out.
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


@register_freezer(layers.Activation)
def _(layer: Any, x: Wire) -> Wire:
    return activate(x, layer.activation)


@register_freezer(layers.ReLU)
def _(layer: Any, x: Wire) -> Wire:
    if layer.threshold != 0:
        raise ValueError(
            f"Layer '{layer.name}' jumps at its `threshold`, so it has no "
            f"Lipschitz constant. Received: threshold={layer.threshold}"
        )
    limit = layer.max_value
    if limit is not None and limit < 0:
        raise _unknown(layer, f"its `max_value` is {limit}")
    return x.then(
        Rectify(
            float(round_constant(x, layer.negative_slope)),
            None if limit is None else float(read_kernel(layer, limit)),
        )
    )


@register_freezer(layers.LeakyReLU)
def _(layer: Any, x: Wire) -> Wire:
    return x.then(Rectify(float(round_constant(x, layer.negative_slope)), None))


@register_freezer(layers.ELU)
def _(layer: Any, x: Wire) -> Wire:
    return x.then(ExponentialLinear(float(round_constant(x, layer.alpha))))


@register_freezer(layers.PReLU)
def _(layer: Any, x: Wire) -> Wire:
    alpha = read_kernel(layer, layer.alpha)
    _check_fits(layer, x, alpha.shape)
    return x.then(Rectify(alpha, None))


@register_freezer(layers.Softmax)
def _(layer: Any, x: Wire) -> Wire:
    if not isinstance(layer.axis, int):
        raise _unknown(layer, f"its `axis` is {layer.axis}")
    _refuse_masks(layer, x)
    return _along_last(x, layer.axis, lambda y: y.then(Softmax()), layer)


def _along_last(x: Wire, axis: int, apply: Any, layer: Any) -> Wire:
    """Applies something along an axis, counted with samples."""
    if axis == -1:
        return apply(x)
    if x.shape is None:
        raise _unknown(layer, "the shape of its input is not known")
    ndim, own = len(x.shape), sample_axis(x, axis)
    if own < 0:
        raise _unknown(layer, "it acts along the samples")
    order = (*(n for n in range(ndim) if n != own), own)
    back = tuple(int(n) for n in np.argsort(order))
    return apply(x.then(Transpose(order))).then(Transpose(back))


# At inference these pass their input on as it is.
@register_freezer(
    *(
        getattr(layers, name)
        for name in (
            "ActivityRegularization",
            "AlphaDropout",
            "Dropout",
            "GaussianDropout",
            "GaussianNoise",
            "Identity",
            "RandomBrightness",
            "RandomContrast",
            "RandomErasing",
            "RandomFlip",
            "RandomHue",
            "RandomRotation",
            "RandomSaturation",
            "RandomShear",
            "RandomTranslation",
            "RandomZoom",
            "SpatialDropout1D",
            "SpatialDropout2D",
            "SpatialDropout3D",
        )
        if hasattr(layers, name)
    )
)
def _(layer: Any, x: Wire) -> Wire:
    return x


@register_freezer(layers.Masking)
def _(layer: Any, x: Wire) -> Wire:
    if layer.mask_value != 0:
        raise ValueError(
            f"Layer '{layer.name}' sets to zero what equals its `mask_value`, "
            "where it jumps, unless that is zero. Received: "
            f"mask_value={layer.mask_value}"
        )
    # Its outputs are its inputs, but layers that follow may heed the mask.
    x.builder.is_masked = True
    return x


def _refuse_masks(layer: Any, x: Wire) -> None:
    if x.builder.is_masked:
        raise ValueError(
            f"Layer '{layer.name}' may heed the mask of a `Masking` layer, so "
            "that no Lipschitz bound is known. Remove the `Masking` layer."
        )


@register_freezer(layers.Flatten)
def _(layer: Any, x: Wire) -> Wire:
    if layer.data_format == "channels_first" and len(x.shape or ()) > 1:
        ndim = len(x.shape or ())
        x = x.then(Transpose((*range(1, ndim), 0)))
    return x.then(Reshape((-1,)))


@register_freezer(layers.Reshape)
def _(layer: Any, x: Wire) -> Wire:
    return x.then(Reshape(tuple(layer.target_shape)))


@register_freezer(layers.Permute)
def _(layer: Any, x: Wire) -> Wire:
    return x.then(Transpose(tuple(axis - 1 for axis in layer.dims)))


@register_freezer(layers.Cropping1D, layers.Cropping2D, layers.Cropping3D)
def _(layer: Any, x: Wire) -> Wire:
    pairs = _pairs(layer.cropping)
    ranges = [
        (before, -after if after else None, None) for before, after in pairs
    ]
    return x.then(Slice(_place(layer, ranges, EVERYWHERE)))


@register_freezer(layers.CenterCrop)
def _(layer: Any, x: Wire) -> Wire:
    first = layer.data_format == "channels_first"
    sides = (x.shape or (None,) * 3)[slice(1, 3) if first else slice(0, 2)]
    targets = (layer.height, layer.width)
    if any(
        side is None or side < target
        for side, target in zip(sides, targets, strict=True)
    ):
        raise _unknown(layer, f"it may resize images of sides {tuple(sides)}")
    ranges = []
    for side, target in zip(sides, targets, strict=True):
        start = ((side or 0) - target) // 2
        ranges.append((start, start + target, None))
    return x.then(Slice(_place(layer, ranges, EVERYWHERE)))


@register_freezer(
    layers.ZeroPadding1D, layers.ZeroPadding2D, layers.ZeroPadding3D
)
def _(layer: Any, x: Wire) -> Wire:
    return x.then(Pad(_place(layer, _pairs(layer.padding), (0, 0))))


def _pairs(value: Any) -> list[tuple[int, int]]:
    pairs = [value] if isinstance(value[0], int) else value
    return [(int(before), int(after)) for before, after in pairs]


def _place(layer: Any, inner: list[Any], outer: Any) -> tuple[Any, ...]:
    """Puts what is done to channels before, or after, what to images."""
    if getattr(layer, "data_format", None) == "channels_first":
        return (outer, *inner)
    return (*inner, outer)


@register_freezer(layers.RepeatVector)
def _(layer: Any, x: Wire) -> Wire:
    shape = x.shape
    if shape is not None and known(shape):
        x = x.then(Reshape((1, *(size or 0 for size in shape))))
    return x.then(Repeat(0, layer.n))


@register_freezer(layers.UpSampling1D, layers.UpSampling2D, layers.UpSampling3D)
def _(layer: Any, x: Wire) -> Wire:
    interpolation = getattr(layer, "interpolation", "nearest")
    if interpolation not in ("nearest", "bilinear"):
        raise ValueError(
            f"Layer '{layer.name}' must repeat its entries to be bounded, or "
            "interpolate between two of them, as with "
            'interpolation="nearest" or "bilinear". Received: '
            f"interpolation={interpolation!r}"
        )
    sizes = layer.size if isinstance(layer.size, tuple) else (layer.size,)
    node = Upsample(tuple(sizes), interpolation)
    if getattr(layer, "data_format", "channels_last") == "channels_last":
        return x.then(node)
    ndim = len(sizes) + 1
    moved = x.then(Transpose((*range(1, ndim), 0))).then(node)
    return moved.then(Transpose((ndim - 1, *range(ndim - 1))))


@register_freezer(layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D)
def _(layer: Any, x: Wire) -> Wire:
    return on_images(x, layer, MaxPool(*_pool_arguments(layer)))


@register_freezer(
    layers.AveragePooling1D, layers.AveragePooling2D, layers.AveragePooling3D
)
def _(layer: Any, x: Wire) -> Wire:
    sizes, strides, padding = _pool_arguments(layer)
    if padding == "same" and keras.backend.backend() == "torch":
        # Keras continues images by their border there, if it has to add more
        # pixels on one side.
        padding = "torch"
    return on_images(x, layer, WindowPool(sizes, strides, padding, None))


def _pool_arguments(layer: Any) -> tuple[Any, Any, str]:
    sizes, strides = layer.pool_size, layer.strides
    return (
        tuple(sizes) if isinstance(sizes, tuple | list) else (sizes,),
        tuple(strides) if isinstance(strides, tuple | list) else (strides,),
        layer.padding,
    )


@register_freezer(
    layers.GlobalAveragePooling1D,
    layers.GlobalAveragePooling2D,
    layers.GlobalAveragePooling3D,
)
def _(layer: Any, x: Wire) -> Wire:
    _refuse_masks(layer, x)
    return _pool_globally(layer, x, lambda axes: GlobalPool(axes, None))


@register_freezer(
    layers.GlobalMaxPooling1D,
    layers.GlobalMaxPooling2D,
    layers.GlobalMaxPooling3D,
)
def _(layer: Any, x: Wire) -> Wire:
    return _pool_globally(layer, x, GlobalMax)


def _pool_globally(layer: Any, x: Wire, make: Any) -> Wire:
    first = layer.data_format == "channels_first"
    if x.shape is None:
        return x.then(make((0,)))
    ndim = len(x.shape)
    axes = tuple(range(1, ndim) if first else range(ndim - 1))
    outputs = x.then(make(axes))
    channels = x.shape[0 if first else -1]
    if layer.keepdims or channels is None:
        return outputs
    return outputs.then(Reshape((channels,)))


@register_freezer(layers.BatchNormalization)
def _(layer: Any, x: Wire) -> Wire:
    # Keras computes in float32, or more.
    variance = read_weight(layer.moving_variance)
    epsilon = min(layer.epsilon, float(np.float32(layer.epsilon)))
    # What is divided by zero, or by the root of less, is no number.
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = 1 / np.sqrt(variance + epsilon)
    if layer.scale:
        scale = scale * read_weight(layer.gamma)
    beta = read_weight(layer.beta) if layer.center else np.zeros_like(scale)
    mean, scale, beta = (
        along_axis(x, layer.axis, each)
        for each in (read_weight(layer.moving_mean), scale, beta)
    )
    return x.then(translate(-mean)).then(Affine(scale, beta, exact=False))


def translate(offset: Array) -> Affine:
    """Returns the node that adds an offset."""
    return Affine(np.ones_like(offset), offset)


@register_freezer(layers.Normalization)
def _(layer: Any, x: Wire) -> Wire:
    # What runs are its constants: they may not be those of its weights.
    mean, variance = read_weight(layer.mean), read_weight(layer.variance)
    mean, variance = mean[0], variance[0]
    _check_fits(layer, x, variance.shape)
    with np.errstate(invalid="ignore"):
        deviation = np.sqrt(variance)
    # Keras divides by no less than its epsilon.
    least = float(read_kernel(layer, np.float32(keras.config.epsilon())))
    deviation = np.maximum(deviation, min(least, keras.config.epsilon()))
    if layer.invert:
        return x.then(Affine(deviation, mean, exact=False))
    scale = 1 / deviation
    return x.then(translate(-mean)).then(
        Affine(scale, np.zeros_like(scale), exact=False)
    )


@register_freezer(layers.Rescaling)
def _(layer: Any, x: Wire) -> Wire:
    scale = round_constant(x, layer.scale)
    offset = round_constant(x, layer.offset)
    if scale.ndim > 0 and keras.config.image_data_format() == "channels_first":
        # A list of scales is one for each channel, as Keras reads it.
        scale = scale.reshape(scale.shape + (1,) * (3 - scale.ndim))
    _check_fits(layer, x, scale.shape)
    _check_fits(layer, x, offset.shape)
    return x.then(Affine(scale, offset))


@register_freezer(layers.Add)
def _(layer: Any, *x: Wire) -> Wire:
    check_same_shapes(layer, x)
    return x[0].then(Combine((1.0,) * len(x)), *x[1:])


@register_freezer(layers.Subtract)
def _(layer: Any, *x: Wire) -> Wire:
    check_same_shapes(layer, x)
    return x[0].then(Combine((1.0, -1.0)), *x[1:])


@register_freezer(layers.Average)
def _(layer: Any, *x: Wire) -> Wire:
    check_same_shapes(layer, x)
    total = x[0].then(Combine((1.0,) * len(x)), *x[1:])
    share = np.array(1 / len(x))
    return total.then(Affine(share, np.array(0.0), exact=False))


@register_freezer(layers.Maximum)
def _(layer: Any, *x: Wire) -> Wire:
    check_same_shapes(layer, x)
    return x[0].then(Extremum(True), *x[1:])


@register_freezer(layers.Minimum)
def _(layer: Any, *x: Wire) -> Wire:
    check_same_shapes(layer, x)
    return x[0].then(Extremum(False), *x[1:])


@register_freezer(layers.Concatenate)
def _(layer: Any, *x: Wire) -> Wire:
    return concatenate(layer, layer.axis, x)


def concatenate(layer: Any, axis: int, x: tuple[Wire, ...]) -> Wire:
    """Joins wires along an axis, counted with samples."""
    shape = x[0].shape
    # Without a shape, no more is known than that the last axis is not first.
    own = axis if shape is None else axis % (len(shape) + 1)
    if own == 0:
        raise ValueError(
            f"Layer '{layer.name}' joins samples, so that no bound of one "
            f"sample is known. Received: axis={axis}"
        )
    return x[0].then(Concatenate(own - 1 if own > 0 else own), *x[1:])


@register_freezer(layers.TimeDistributed)
def _(layer: Any, x: Wire) -> Wire:
    _refuse_masks(layer, x)
    if x.shape is None:
        raise _unknown(layer, "the shape of its input is not known")
    builder = x.builder
    inner = Builder(
        [tuple(x.shape[1:])],
        [layer.layer.compute_dtype],
        builder.read,
        builder.proven,
    )
    return x.then(Mapped(inner.finish(inner.inputs[0].through(layer.layer))))


def check_same_shapes(layer: Any, wires: tuple[Wire, ...]) -> None:
    """Refuses inputs that might be broadcast against each other."""
    shapes = {wire.shape for wire in wires if wire.shape is not None}
    # What is the same tensor has the same shape, known or not.
    distinct = len({wire.index for wire in wires}) > 1
    if len(shapes) > 1 or (distinct and any(None in shape for shape in shapes)):
        listed = sorted(((None, *shape) for shape in shapes), key=str)
        raise ValueError(
            f"Layer '{layer.name}' must not broadcast its inputs to be "
            "bounded: their shapes must be known and the same. Received: "
            f"input shapes {listed}"
        )


def _check_fits(layer: Any, x: Wire, shape: tuple[int, ...]) -> None:
    """Refuses a parameter that might enlarge the input.

    Its shape is aligned with the last axes of the input.
    """
    if x.shape is None:
        return
    if len(shape) == len(x.shape) + 1 and shape[0] == 1:
        shape = shape[1:]
    last = x.shape[len(x.shape) - len(shape) :]
    if len(shape) > len(x.shape) or any(
        size not in (1, axis) for size, axis in zip(shape, last, strict=True)
    ):
        raise ValueError(
            f"Layer '{layer.name}' must not broadcast its input to be bounded. "
            f"Received: input shape {(None, *x.shape)} and a parameter of "
            f"shape {tuple(shape)}"
        )


def _unknown(layer: Any, why: str) -> ValueError:
    return ValueError(
        f"No Lipschitz bound is known for layer '{layer.name}' of type "
        f"`{type(layer).__name__}`: {why}. Use a layer of `keras_lip.layers` "
        "instead."
    )
