"""What the operations of `keras.ops` compute."""

import functools
import math
import numbers
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lip.graph import get_operation
from keras_lip.program.builder import Wire
from keras_lip.program.freezing.reading import round_constant
from keras_lip.program.freezing.registry import register_freezer
from keras_lip.program.freezing.stock_layers import EVERYWHERE
from keras_lip.program.freezing.stock_layers import check_same_shapes
from keras_lip.program.freezing.stock_layers import concatenate
from keras_lip.program.nodes.affine import Affine
from keras_lip.program.nodes.axis_linear import Center
from keras_lip.program.nodes.axis_linear import GlobalPool
from keras_lip.program.nodes.axis_linear import Repeat
from keras_lip.program.nodes.dense import Dense
from keras_lip.program.nodes.elementwise import Elementwise
from keras_lip.program.nodes.elementwise import ExponentialLinear
from keras_lip.program.nodes.elementwise import Rectify
from keras_lip.program.nodes.merges import Combine
from keras_lip.program.nodes.merges import Extremum
from keras_lip.program.nodes.pooling import GlobalMax
from keras_lip.program.nodes.selections import Pad
from keras_lip.program.nodes.selections import Reshape
from keras_lip.program.nodes.selections import Slice
from keras_lip.program.nodes.selections import Transpose
from keras_lip.program.nodes.sorting import Sort
from keras_lip.read_weight import read_weight
from keras_lip.types import Array


@functools.cache
def _probe() -> Any:
    return keras.KerasTensor((None, 2, 2))


def _classes(*functions: Callable[[Any], Any]) -> list[type]:
    """Returns the classes of operations, which Keras does not export."""
    return [type(get_operation(make(_probe()))) for make in functions]


def _is_wire(value: Any) -> bool:
    return isinstance(value, Wire)


@register_freezer(*_classes(lambda x: x + x))
def _(layer: Any, first: Any, second: Any) -> Wire:
    return _add(layer, first, second, 1.0)


@register_freezer(*_classes(lambda x: x - x))
def _(layer: Any, first: Any, second: Any) -> Wire:
    return _add(layer, first, second, -1.0)


def _add(layer: Any, first: Any, second: Any, sign: float) -> Wire:
    if _is_wire(first) and _is_wire(second):
        axis = _centered_axis(first, second) if sign < 0 else None
        if axis is not None:
            return first.then(Center(axis))
        check_same_shapes(layer, (first, second))
        return first.then(Combine((1.0, sign)), second)
    if _is_wire(first):
        offset = sign * _constant(layer, second, first)
        return first.then(Affine(np.ones_like(offset), offset))
    offset = _constant(layer, first, second)
    return second.then(Affine(np.full_like(offset, sign), offset))


def _centered_axis(x: Wire, other: Wire) -> int | None:
    """Returns the axis that one wire is the mean of the other along."""
    step = other.builder.step_of(other.index)
    if step is None or step.inputs != (x.index,):
        return None
    node = step.node
    if not isinstance(node, GlobalPool) or node.scale is not None:
        return None
    return node.over[0] if len(node.over) == 1 else None


@register_freezer(*_classes(lambda x: -x))
def _(layer: Any, x: Wire) -> Wire:
    return x.then(Affine(np.array(-1.0), np.array(0.0)))


@register_freezer(*_classes(lambda x: 2 * x))
def _(layer: Any, first: Any, second: Any) -> Wire:
    if _is_wire(first) and _is_wire(second):
        raise ValueError(
            f"Operation '{layer.name}' multiplies two tensors, which is not "
            "Lipschitz. Multiply a tensor by a number."
        )
    wire, value = (first, second) if _is_wire(first) else (second, first)
    scale = _constant(layer, value, wire)
    return wire.then(Affine(scale, np.zeros_like(scale)))


@register_freezer(*_classes(lambda x: x / 2))
def _(layer: Any, numerator: Any, denominator: Any) -> Wire:
    if _is_wire(denominator):
        raise ValueError(
            f"Operation '{layer.name}' divides by a tensor, which is not "
            "Lipschitz. Divide a tensor by a number."
        )
    values = _constant(layer, denominator, numerator, smallest=True)
    with np.errstate(divide="ignore"):
        scale = 1 / values
    power_of_two = np.all(np.frexp(values)[0] == 0.5 * np.sign(values))
    return numerator.then(
        Affine(scale, np.zeros_like(scale), exact=bool(power_of_two))
    )


def _constant(
    layer: Any, value: Any, wire: Wire, smallest: bool = False
) -> Array:
    """Returns constants as they may be rounded, if they fit the tensor."""
    try:
        numbers_ = (
            np.asarray(value, "float64")
            if isinstance(value, numbers.Real | np.ndarray | list | tuple)
            else read_weight(value)
        )
    except (TypeError, ValueError):
        numbers_ = np.array(np.nan)
    if isinstance(value, str) or not np.isfinite(numbers_).all():
        raise ValueError(
            f"Operation '{layer.name}' joins a tensor with {value!r} of type "
            f"`{type(value).__name__}`. Only finite numbers, and arrays of "
            "them, are understood; use a layer for anything else."
        )
    return _fit(layer, round_constant(wire, numbers_, smallest), wire)


def _fit(layer: Any, values: Array, wire: Wire) -> Array:
    """Refuses constants that would enlarge a sample, or tell samples apart."""
    if values.ndim == 0:
        return values
    shape = wire.shape
    fits = shape is not None
    if shape is not None:
        if values.ndim == len(shape) + 1 and values.shape[0] == 1:
            values = values[0]
        fits = values.ndim <= len(shape) and all(
            size in (1, axis)
            for size, axis in zip(
                values.shape, shape[len(shape) - values.ndim :], strict=True
            )
        )
    if not fits:
        raise ValueError(
            f"Operation '{layer.name}' must not broadcast its input to be "
            f"bounded. Received: input shape {(None, *(shape or ()))} and "
            f"constants of shape {values.shape}"
        )
    return values


# A functional model puts one before its inputs if its `call` is overridden.
@register_freezer(
    *_classes(
        ops.convert_to_tensor,
        lambda x: ops.cast(x, "float64"),
        ops.stop_gradient,
    )
)
def _(layer: Any, x: Wire) -> Wire:
    dtype = getattr(layer, "dtype", None)
    if dtype is not None and not keras.backend.is_float_dtype(dtype):
        raise ValueError(
            f"Operation '{layer.name}' rounds its input to {dtype!r}, so that "
            "it has no Lipschitz constant."
        )
    if dtype in ("float16", "bfloat16"):
        raise ValueError(
            f"Operation '{layer.name}' rounds its input to {dtype}, of which "
            "nothing is accounted for. Let layers compute in it instead."
        )
    return x.then(Affine(np.array(1.0), np.array(0.0)))


_FUNCTIONS = {
    "absolute": ops.absolute,
    "hard_sigmoid": ops.hard_sigmoid,
    "hard_silu": ops.hard_silu,
    "hard_tanh": ops.hard_tanh,
    "log_sigmoid": ops.log_sigmoid,
    "relu": ops.relu,
    "relu6": ops.relu6,
    "selu": ops.selu,
    "sigmoid": ops.sigmoid,
    "silu": ops.silu,
    "softplus": ops.softplus,
    "softsign": ops.soft_sign if hasattr(ops, "soft_sign") else ops.softsign,
    "tanh": ops.tanh,
}

for _name, _function in _FUNCTIONS.items():

    def _freeze_function(layer: Any, x: Wire, name: str = _name) -> Wire:
        return x.then(Elementwise(name))

    register_freezer(*_classes(_function))(_freeze_function)


@register_freezer(*_classes(ops.leaky_relu))
def _(layer: Any, x: Wire) -> Wire:
    return x.then(Rectify(float(round_constant(x, layer.negative_slope)), None))


@register_freezer(*_classes(ops.elu))
def _(layer: Any, x: Wire) -> Wire:
    return x.then(ExponentialLinear(float(round_constant(x, layer.alpha))))


@register_freezer(*_classes(lambda x: ops.concatenate([x, x], axis=1)))
def _(layer: Any, wires: list[Wire]) -> Wire:
    _check_all(layer, wires)
    return concatenate(layer, _axis(layer, layer.axis, wires[0]), tuple(wires))


@register_freezer(*_classes(lambda x: ops.stack([x, x], axis=1)))
def _(layer: Any, wires: list[Wire]) -> Wire:
    _check_all(layer, wires)
    ndim = len(_shape(layer, wires[0])) + 2
    axis = layer.axis % ndim
    _refuse_samples(layer, axis)
    return concatenate(
        layer, axis, tuple(_insert(layer, wire, axis) for wire in wires)
    )


def _check_all(layer: Any, wires: Any) -> None:
    if not all(_is_wire(wire) for wire in wires):
        raise ValueError(
            f"Operation '{layer.name}' joins tensors with constants, of which "
            "no bound is known."
        )


def _shape(layer: Any, wire: Wire) -> tuple[int | None, ...]:
    if wire.shape is None:
        raise ValueError(
            f"Operation '{layer.name}' needs an input of known shape."
        )
    return wire.shape


def _sizes(layer: Any, wire: Wire) -> tuple[int, ...]:
    shape = _shape(layer, wire)
    if None in shape:
        raise ValueError(
            f"Operation '{layer.name}' is bounded on inputs of known shape. "
            f"Received: input shape {(None, *shape)}"
        )
    return tuple(size or 0 for size in shape)


def _refuse_samples(layer: Any, axis: Any) -> None:
    if axis == 0 or axis is None:
        raise ValueError(
            f"Operation '{layer.name}' joins, moves or drops samples, so that "
            "no bound of one sample is known."
        )


def _axis(layer: Any, axis: Any, wire: Wire) -> int:
    """Returns an axis counted from the first, that of samples."""
    _refuse_samples(layer, axis)
    found = axis % (len(_shape(layer, wire)) + 1)
    _refuse_samples(layer, found)
    return int(found)


def _insert(layer: Any, wire: Wire, axis: int) -> Wire:
    sizes = _sizes(layer, wire)
    return wire.then(Reshape((*sizes[: axis - 1], 1, *sizes[axis - 1 :])))


@register_freezer(*_classes(lambda x: ops.expand_dims(x, 1)))
def _(layer: Any, x: Wire) -> Wire:
    ndim = len(_shape(layer, x)) + 2
    axes = layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]
    for axis in axes:
        _refuse_samples(layer, axis % ndim)
        x = _insert(layer, x, axis % ndim)
    return x


@register_freezer(*_classes(lambda x: ops.squeeze(x[:, :1], 1)))
def _(layer: Any, x: Wire) -> Wire:
    sizes = _sizes(layer, x)
    axes = layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]
    if axes == [None]:
        raise ValueError(
            f"Operation '{layer.name}' may drop the axis of samples: name its "
            "`axis`."
        )
    drop = {_axis(layer, axis, x) - 1 for axis in axes}
    return x.then(
        Reshape(tuple(n for i, n in enumerate(sizes) if i not in drop))
    )


@register_freezer(*_classes(lambda x: ops.unstack(x, axis=1)[0]))
def _(layer: Any, x: Wire) -> list[Wire]:
    axis = _axis(layer, layer.axis, x) - 1
    sizes = _sizes(layer, x)
    rest = (*sizes[:axis], *sizes[axis + 1 :])
    return [
        _slice(x, axis, i, i + 1).then(Reshape(rest))
        for i in range(sizes[axis])
    ]


@register_freezer(*_classes(lambda x: ops.split(x, 2, axis=1)[0]))
def _(layer: Any, x: Wire) -> list[Wire]:
    axis = _axis(layer, layer.axis, x) - 1
    size = _sizes(layer, x)[axis]
    places = layer.indices_or_sections
    if isinstance(places, int):
        width = size // places
        places = [width * i for i in range(1, places)]
    edges = [0, *(int(place) for place in places), size]
    return [
        _slice(x, axis, start, stop)
        for start, stop in zip(edges[:-1], edges[1:], strict=True)
    ]


def _slice(x: Wire, axis: int, start: int, stop: int) -> Wire:
    return x.then(Slice((EVERYWHERE,) * axis + ((start, stop, None),)))


@register_freezer(*_classes(lambda x: x[:, :1]))
def _(layer: Any, x: Wire, key: Any) -> Wire:
    keys = list(key) if isinstance(key, tuple | list) else [key]
    ndim = len(_shape(layer, x)) + 1
    if Ellipsis in keys:
        at = keys.index(Ellipsis)
        taken = sum(part is not None for part in keys) - 1
        keys[at : at + 1] = [slice(None)] * (ndim - taken)
    if not keys or keys[0] != slice(None):
        _refuse_samples(layer, 0)
    ranges: list[tuple[int | None, int | None, int | None]] = []
    target: list[int | None] = []
    sizes = _shape(layer, x)
    place = 0
    for part in keys[1:]:
        if part is None:
            target.append(1)
            continue
        size = sizes[place]
        place += 1
        if isinstance(part, numbers.Integral):
            start = int(part)
            ranges.append((start, start + 1 if start != -1 else None, None))
        elif isinstance(part, slice):
            each = (part.start, part.stop, part.step)
            if not all(
                n is None or isinstance(n, numbers.Integral) for n in each
            ):
                raise _not_understood(layer, key)
            ranges.append(each)
            kept = None if size is None else len(range(*part.indices(size)))
            target.append(kept)
        else:
            raise _not_understood(layer, key)
    outputs = x.then(Slice(tuple(ranges)))
    target += sizes[place:]
    if len(target) == len(sizes) and None not in keys:
        return outputs
    known_sizes = [size for size in target if size is not None]
    if len(known_sizes) < len(target):
        raise _not_understood(layer, key)
    return outputs.then(Reshape(tuple(known_sizes)))


def _not_understood(layer: Any, key: Any) -> ValueError:
    return ValueError(
        f"Operation '{layer.name}' takes entries in a way of which no bound is "
        f"known. Received: {key!r}"
    )


@register_freezer(*_classes(lambda x: ops.maximum(x, x)))
def _(layer: Any, first: Any, second: Any) -> Wire:
    return _extremum(layer, first, second, True)


@register_freezer(*_classes(lambda x: ops.minimum(x, x)))
def _(layer: Any, first: Any, second: Any) -> Wire:
    return _extremum(layer, first, second, False)


def _extremum(layer: Any, first: Any, second: Any, largest: bool) -> Wire:
    if _is_wire(first) and _is_wire(second):
        check_same_shapes(layer, (first, second))
        return first.then(Extremum(largest), second)
    wire, value = (first, second) if _is_wire(first) else (second, first)
    limit = _constant(layer, value, wire)
    # `max(x, c) = relu(x - c) + c`, and `min(x, c) = c - relu(c - x)`.
    one = np.ones_like(limit)
    if largest:
        moved = wire.then(Affine(one, -limit)).then(Elementwise("relu"))
        return moved.then(Affine(one, limit))
    moved = wire.then(Affine(-one, limit)).then(Elementwise("relu"))
    return moved.then(Affine(-one, limit))


@register_freezer(*_classes(lambda x: ops.clip(x, -1.0, 1.0)))
def _(layer: Any, x: Wire) -> Wire:
    low, high = float(layer.x_min), float(layer.x_max)
    if not low <= high:
        raise _not_understood(layer, (low, high))
    middle = x.then(Affine(np.array(1.0), np.array(-low)))
    return middle.then(Rectify(0.0, high - low)).then(
        Affine(np.array(1.0), np.array(low))
    )


@register_freezer(*_classes(lambda x: ops.moveaxis(x, 1, 2)))
def _(layer: Any, x: Wire) -> Wire:
    ndim = len(_shape(layer, x)) + 1
    order = list(range(ndim))
    source = [axis % ndim for axis in layer.source]
    target = [axis % ndim for axis in layer.destination]
    order = [axis for axis in order if axis not in source]
    for place, axis in sorted(zip(target, source, strict=True)):
        order.insert(place, axis)
    return _transpose(layer, x, order)


@register_freezer(*_classes(lambda x: ops.transpose(x, (0, 2, 1))))
def _(layer: Any, x: Wire) -> Wire:
    ndim = len(_shape(layer, x)) + 1
    axes = layer.axes or range(ndim)[::-1]
    return _transpose(layer, x, [axis % ndim for axis in axes])


@register_freezer(*_classes(lambda x: ops.swapaxes(x, 1, 2)))
def _(layer: Any, x: Wire) -> Wire:
    ndim = len(_shape(layer, x)) + 1
    order = list(range(ndim))
    first, second = layer.axis1 % ndim, layer.axis2 % ndim
    order[first], order[second] = order[second], order[first]
    return _transpose(layer, x, order)


def _transpose(layer: Any, x: Wire, order: list[int]) -> Wire:
    if order[0] != 0:
        _refuse_samples(layer, 0)
    return x.then(Transpose(tuple(axis - 1 for axis in order[1:])))


@register_freezer(*_classes(lambda x: ops.flip(x, axis=1)))
def _(layer: Any, x: Wire) -> Wire:
    axes = layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]
    own = {_axis(layer, axis, x) - 1 for axis in axes}
    ranges = tuple(
        (None, None, -1) if axis in own else EVERYWHERE
        for axis in range(len(_shape(layer, x)))
    )
    return x.then(Slice(ranges))


@register_freezer(*_classes(lambda x: ops.repeat(x, 2, axis=1)))
def _(layer: Any, x: Wire) -> Wire:
    if not isinstance(layer.repeats, int):
        raise _not_understood(layer, layer.repeats)
    axis = _axis(layer, layer.axis, x) - 1
    return x.then(Repeat(axis, layer.repeats))


@register_freezer(*_classes(lambda x: ops.pad(x, [[0, 0], [1, 1], [0, 0]])))
def _(layer: Any, x: Wire, constant_values: Any = None) -> Wire:
    widths = np.broadcast_to(
        np.asarray(layer.pad_width), (len(_shape(layer, x)) + 1, 2)
    )
    if layer.mode != "constant" or constant_values not in (None, 0):
        raise ValueError(
            f"Operation '{layer.name}' pads with something else than zeros, of "
            f"which no bound is known. Received: mode={layer.mode!r}, "
            f"constant_values={constant_values!r}"
        )
    if np.any(widths[0]):
        _refuse_samples(layer, 0)
    pairs = tuple((int(before), int(after)) for before, after in widths[1:])
    return x.then(Pad(pairs))


@register_freezer(*_classes(lambda x: ops.reshape(x, (-1, 4))))
def _(layer: Any, x: Wire) -> Wire:
    target = list(layer.newshape)
    sizes = _sizes(layer, x)
    if -1 in target[1:] or target[0] not in (-1, None):
        # Samples are told apart by the sizes of the rest.
        _refuse_samples(layer, 0)
    if math.prod(target[1:]) != math.prod(sizes):
        _refuse_samples(layer, 0)
    return x.then(Reshape(tuple(int(size) for size in target[1:])))


@register_freezer(*_classes(lambda x: ops.sort(x, axis=1)))
def _(layer: Any, x: Wire) -> Wire:
    axis = _axis(layer, layer.axis, x) - 1
    return x.then(Sort(axis, _sizes(layer, x)[axis]))


@register_freezer(*_classes(lambda x: ops.mean(x, axis=1)))
def _(layer: Any, x: Wire) -> Wire:
    return _reduce(layer, x, lambda axes: GlobalPool(axes, None))


@register_freezer(*_classes(lambda x: ops.sum(x, axis=1)))
def _(layer: Any, x: Wire) -> Wire:
    return _reduce(layer, x, lambda axes: GlobalPool(axes, 1.0))


@register_freezer(*_classes(lambda x: ops.max(x, axis=1)))
def _(layer: Any, x: Wire) -> Wire:
    if layer.initial is not None:
        raise _not_understood(layer, layer.initial)
    return _reduce(layer, x, GlobalMax)


def _reduce(layer: Any, x: Wire, make: Any) -> Wire:
    axes = layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]
    own = tuple(sorted(_axis(layer, axis, x) - 1 for axis in axes))
    sizes = _sizes(layer, x)
    outputs = x.then(make(own))
    if layer.keepdims:
        return outputs
    return outputs.then(
        Reshape(tuple(n for i, n in enumerate(sizes) if i not in own))
    )


@register_freezer(*_classes(lambda x: ops.matmul(x, np.ones((2, 2)))))
def _(layer: Any, first: Any, second: Any) -> Wire:
    if not _is_wire(first) or _is_wire(second):
        raise ValueError(
            f"Operation '{layer.name}' multiplies by a tensor from the left, "
            "or multiplies two tensors, of which no bound is known."
        )
    kernel = (
        np.asarray(second, "float64")
        if isinstance(second, np.ndarray)
        else read_weight(second)
    )
    if kernel.ndim != 2:
        raise _not_understood(layer, kernel.shape)
    return first.then(Dense(kernel, None))
