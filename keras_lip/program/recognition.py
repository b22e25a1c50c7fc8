"""Replaces nodes by equivalent nodes with better bounds.

A stock model that was created from a program has the program's bound, because
its layers are recognized here, using only their numbers.
"""

import dataclasses
import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np

from keras_lip.operators import ConvolutionOperator
from keras_lip.program.node import Node
from keras_lip.program.node import known
from keras_lip.program.nodes.affine import Affine
from keras_lip.program.nodes.composite import Exponential
from keras_lip.program.nodes.composite import Residual
from keras_lip.program.nodes.convolution import Convolution
from keras_lip.program.nodes.convolution import wrap
from keras_lip.program.nodes.dense import Dense
from keras_lip.program.nodes.elementwise import Elementwise
from keras_lip.program.nodes.elementwise import ExponentialLinear
from keras_lip.program.nodes.elementwise import Rectify
from keras_lip.program.nodes.linear import Linear
from keras_lip.program.nodes.merges import Combine
from keras_lip.program.nodes.merges import Concatenate
from keras_lip.program.nodes.merges import Extremum
from keras_lip.program.nodes.selections import Pad
from keras_lip.program.nodes.selections import Reshape
from keras_lip.program.nodes.selections import Slice
from keras_lip.program.nodes.selections import Transpose
from keras_lip.program.nodes.sorting import Sort
from keras_lip.program.nodes.transposed_convolution import TransposedConvolution
from keras_lip.program.parts import Graph
from keras_lip.program.parts import find_entries
from keras_lip.program.parts import find_source
from keras_lip.proofs.rounding import add_up

Indices = tuple[int, ...]

# A sequence of nodes with the indices of their inputs. The index -1 is the
# previous node.
Found = list[tuple[Node, Indices]]


def recognize(graph: Graph, node: Node, inputs: Indices) -> Found:
    """Returns the nodes that replace a node, an empty list for the identity."""
    for pattern in _PATTERNS:
        found = pattern(graph, node, inputs)
        if found is not None:
            return found
    return [(node, inputs)]


def _nothing(graph: Graph, node: Node, inputs: Indices) -> Found | None:
    """Recognizes the identity."""
    shape = graph.shape_of(inputs[0])
    if isinstance(node, Combine) and node.weights == (1.0,) and not node.gross:
        return []
    if isinstance(node, Reshape) and known(shape):
        return [] if node.output_shape(shape) == shape else None
    if isinstance(node, Pad):
        return None if any(map(any, node.widths)) else []
    if isinstance(node, Affine):
        same = np.all(node.scale == 1) and np.all(node.offset == 0)
        return [] if same else None
    if isinstance(node, Concatenate | Extremum) and len(inputs) == 1:
        return []
    if isinstance(node, Extremum) and len(set(inputs)) == 1:
        return []
    return None


def _convolution(graph: Graph, node: Node, inputs: Indices) -> Found | None:
    """Recognizes convolutions of padded images."""
    if not isinstance(node, Convolution) or node.circular:
        return None
    step = graph.step_of(inputs[0])
    if step is None or node.widths is None:
        return None
    # A convolution with its own padding may belong to a block on a padded
    # image.
    if any(map(any, node.widths)) or math.prod(node.spans) == 1:
        return None
    if isinstance(step.node, Pad) and step.node.widths[-1] == (0, 0):
        widths = step.node.widths[:-1]
        return [(_replace(node, widths=widths), step.inputs)]
    wrapping = _find_wrapping(graph, inputs[0])
    if wrapping is None:
        return None
    source, found = wrapping
    sides = (graph.shape_of(source) or ())[:-1]
    for pair, span, stride, side in zip(
        found, node.spans, node.strides, sides, strict=True
    ):
        if sum(pair) > max(span - stride, 0) or (side or 1) % stride:
            return None
    return [(_replace(node, widths=found, circular=True), (source,))]


def _find_wrapping(
    graph: Graph, index: int
) -> tuple[int, tuple[tuple[int, int], ...]] | None:
    """Returns the image that is padded periodically, and the padding."""
    step, shape = graph.step_of(index), graph.shape_of(index)
    if not isinstance(step and step.node, Concatenate) or not known(shape):
        return None
    source = find_source(graph, index, Slice)
    image = graph.shape_of(source)
    if not known(image) or len(image or ()) != len(shape or ()):
        return None
    entries = find_entries(graph, index, source)
    numbers = find_entries(graph, source, source)
    if entries.flat[0] == 0:
        return None
    corner = np.unravel_index(entries.flat[0] - 1, numbers.shape)[1:]
    widths = []
    for start, side, padded in zip(
        corner, numbers.shape[1:], entries.shape[1:], strict=True
    ):
        before = int(-start % side)
        widths.append((before, padded - side - before))
    if widths[-1] != (0, 0) or min(min(pair) for pair in widths) < 0:
        return None
    if not np.array_equal(wrap(numbers, widths[:-1]), entries):
        return None
    return source, tuple(widths[:-1])


def _transposed(graph: Graph, node: Node, inputs: Indices) -> Found | None:
    """Recognizes the cropping of a transposed convolution."""
    step = graph.step_of(inputs[0])
    if not isinstance(node, Slice) or step is None:
        return None
    inner, shape = step.node, graph.shape_of(inputs[0])
    if not isinstance(inner, TransposedConvolution) or not known(shape):
        return None
    if any(map(any, inner.wrapping)) or any(map(any, inner.cropping)):
        return None
    if inner.bias is not None:
        return None
    cropping = []
    for axis, size in enumerate(shape or ()):
        ranges = node.ranges[axis] if axis < len(node.ranges) else (None,) * 3
        start, stop, stride = slice(*ranges).indices(size or 0)
        if stride != 1:
            return None
        cropping.append((start, (size or 0) - stop))
    if cropping.pop() != (0, 0):
        return None
    wrapping = _find_wrapping(graph, step.inputs[0])
    if wrapping is None:
        return [(_replace(inner, cropping=tuple(cropping)), step.inputs)]
    source, widths = wrapping
    operator = ConvolutionOperator(
        inner.strides, "same", "circular", inner.dilation_rate
    )
    if tuple(operator.adjoint_padding(inner.kernel)) != widths:
        return None
    if list(operator.adjoint_cropping(inner.kernel)) != cropping:
        return None
    found = _replace(inner, wrapping=widths, cropping=tuple(cropping))
    return [(found, (source,))]


def _sum(graph: Graph, node: Node, inputs: Indices) -> Found | None:
    """Recognizes residual blocks and repeated terms."""
    if not isinstance(node, Combine):
        return None
    totals: dict[int, float] = {}
    gross: dict[int, float] = {}
    for index, weight in zip(inputs, node.weights, strict=True):
        step = graph.step_of(index)
        if abs(weight) == 1 and step is not None:
            factor = _scalar(step.node)
            if factor is not None:
                (index,), weight = step.inputs, weight * factor
        total = _add_exactly(totals.get(index, 0.0), weight)
        if total is None:
            return None
        totals[index] = total
        gross[index] = add_up(gross.get(index, 0.0), abs(weight))
    # If terms cancel, an execution rounds more than their sum.
    cancels = any(gross[index] > abs(totals[index]) for index in totals)
    if len(totals) == 2 and not cancels:
        (first, one), (second, other) = totals.items()
        for source, own, end, weight in (
            (first, one, second, other),
            (second, other, first, one),
        ):
            if own != 1:
                continue
            block = _residual(graph, source, end, -weight)
            found = block or _exponential(graph, source, end, weight)
            if found is not None:
                return [(found, (source,))]
    same = tuple(totals) == inputs and tuple(totals.values()) == node.weights
    if same:
        return None
    if len(totals) == 1 and list(totals.values()) == [1.0] and not cancels:
        return _pass(next(iter(totals)), inputs)
    moduli = tuple(gross.values()) if cancels else ()
    return [(Combine(tuple(totals.values()), moduli), tuple(totals))]


def _add_exactly(first: float, second: float) -> float | None:
    """Returns a sum, or `None` if it is not exact."""
    total = first + second
    if not math.isfinite(total):
        return None
    exact = Fraction(first) + Fraction(second)
    return total if Fraction(total) == exact else None


def _pass(index: int, inputs: Indices) -> Found:
    return [] if index == inputs[0] else [(Combine((1.0,)), (index,))]


def _scalar(node: Node) -> float | None:
    """Returns the factor of a node that only multiplies by a number."""
    if not isinstance(node, Affine) or np.any(node.offset):
        return None
    values = np.unique(node.scale)
    if len(values) != 1:
        return None
    value = float(values[0])
    # The node may also divide by an integer.
    return value if node.exact or _divisor(value) is not None else None


def _divisor(value: float) -> int | None:
    """Returns the integer whose inverse a number is, or `None`."""
    # The inverse of a tiny number overflows.
    if value == 0 or not math.isfinite(1 / value):
        return None
    number = round(1 / value)
    return number if number and 1 / number == value else None


def _residual(
    graph: Graph, source: int, end: int, step: float
) -> Residual | None:
    """Recognizes `x - step * down(s(up(x)))`."""
    chain: list[Node] = []
    index = end
    while index != source and len(chain) < 3:
        found = graph.step_of(index)
        if found is None or len(found.inputs) != 1:
            return None
        chain.append(found.node)
        (index,) = found.inputs
    if len(chain) == 2:
        chain.insert(1, Elementwise("linear"))
    if index != source or len(chain) != 3:
        return None
    down, activation, up = chain
    if not isinstance(activation, Elementwise | Rectify | ExponentialLinear):
        return None
    if not _are_adjoint(up, down):
        return None
    return Residual(up, activation, down, step)  # type: ignore[arg-type]


def _exponential(
    graph: Graph, source: int, end: int, weight: float
) -> Exponential | None:
    """Recognizes one more term of an exponential, starting with the last."""
    step = graph.step_of(end)
    if step is None or not isinstance(step.node, Convolution) or weight <= 0:
        return None
    generator, order = step.node, _divisor(weight)
    if generator.bias is not None or order is None:
        return None
    (index,) = step.inputs
    if index == source:
        found = Exponential(generator, order, order)
        # A single convolution that is not an exponential is not changed.
        return found if found.is_skew else None
    inner = graph.step_of(index)
    if inner is None or inner.inputs != (source,):
        return None
    node = inner.node
    if not isinstance(node, Exponential) or node.first != order + 1:
        return None
    if node.generator.digest != generator.digest:
        return None
    return dataclasses.replace(node, first=order)


def _are_adjoint(up: Node, down: Node) -> bool:
    """Whether two maps are adjoint, except for their numbers."""
    if not isinstance(up, Linear) or not isinstance(down, Linear):
        return False
    if down.bias is not None or type(up) is not type(down):
        return False
    if isinstance(up, Dense):
        return up.kernel.shape == down.kernel.shape[::-1]
    if not isinstance(up, Convolution) or not isinstance(down, Convolution):
        return False
    if up.widths is None or down.widths is None or up.groups * down.groups > 1:
        return False
    *window, channels, filters = up.kernel.shape
    mirrored = tuple(
        (span - 1 - before, span - 1 - after)
        for span, (before, after) in zip(up.spans, up.widths, strict=True)
    )
    return (
        down.kernel.shape == (*window, filters, channels)
        and math.prod(up.strides) == math.prod(down.strides) == 1
        and up.dilation_rate == down.dilation_rate
        and up.circular == down.circular
        and down.widths == mirrored
    )


def _pairs(graph: Graph, node: Node, inputs: Indices) -> Found | None:
    """Recognizes concatenated maxima and minima of pairs."""
    if not isinstance(node, Concatenate) or len(inputs) != 2:
        return None
    ends = [graph.step_of(_skip_reshapes(graph, index)) for index in inputs]
    kinds = [end.node if end is not None else None for end in ends]
    if not all(isinstance(kind, Extremum) for kind in kinds):
        return None
    large, small = kinds
    if large.largest == small.largest or set(ends[0].inputs) != set(  # type: ignore[union-attr]
        ends[1].inputs
    ):
        return None
    pair = ends[0].inputs
    shape = graph.shape_of(inputs[0])
    if (
        len(pair) != 2
        or len(set(pair)) != 2
        or not known(shape)
        or shape is None
    ):
        return None
    if graph.shape_of(inputs[1]) != shape:
        return None
    # Both get the shape of the results, and pairs get a separate axis.
    axis = node.axis
    split = (*shape[:axis], 2, *shape[axis:])
    joined = node.output_shape(shape, shape) or ()
    flat = tuple(int(size or 0) for size in joined)
    own = graph.shape_of(pair[0])
    if own == shape:
        start: Found = [(Concatenate(axis), pair)]
    else:
        if not known(own) or math.prod(own or ()) != math.prod(shape):  # type: ignore[arg-type]
            return None
        order = (*range(1, axis + 1), 0, *range(axis + 1, len(shape) + 1))
        start = [
            (Concatenate(0), pair),
            (Reshape((2, *(int(size or 0) for size in shape))), (-1,)),
        ]
        start.append((Transpose(order), (-1,)))
    return [
        *start,
        (Reshape(tuple(int(size or 0) for size in split)), (-1,)),
        (Sort(axis, 2, descending=large.largest), (-1,)),  # type: ignore[union-attr]
        (Reshape(flat), (-1,)),
    ]


def _skip_reshapes(graph: Graph, index: int) -> int:
    step = graph.step_of(index)
    while step is not None and isinstance(step.node, Reshape):
        (index,) = step.inputs
        step = graph.step_of(index)
    return index


def _replace(node: Node, **changes: object) -> Node:
    return dataclasses.replace(node, **changes)


_PATTERNS: tuple[Callable[[Graph, Node, Indices], Found | None], ...] = (
    _nothing,
    _convolution,
    _transposed,
    _sum,
    _pairs,
)
