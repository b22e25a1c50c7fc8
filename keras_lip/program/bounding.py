"""Lipschitz bounds of the tensors of a program."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_lip.program import upward
from keras_lip.program.node import count_entries
from keras_lip.program.node import digest_nodes
from keras_lip.program.nodes.merges import Combine
from keras_lip.program.nodes.merges import Extremum
from keras_lip.program.nodes.merges import Join
from keras_lip.program.parts import Graph
from keras_lip.program.parts import find_entries
from keras_lip.program.parts import find_source
from keras_lip.progress import Verbose
from keras_lip.progress import track
from keras_lip.proofs.method_notes import collect_methods
from keras_lip.proofs.rounding import add_up
from keras_lip.proofs.rounding import hypot_up
from keras_lip.proofs.rounding import multiply_up
from keras_lip.proofs.rounding import sqrt_up


@dataclasses.dataclass(frozen=True)
class ProgramBounds:
    """The proven bounds of the tensors of a program.

    Attributes:
        norm: `"l2"` or `"linf"`.
        values: Tuple of floats: the bound of each tensor as a function of the
            inputs.
        methods: Tuple of tuples of strings: the methods of each proof.
        output: Float. The bound of the output.
    """

    norm: str
    values: tuple[float, ...]
    methods: tuple[tuple[str, ...], ...]
    output: float


def bound_steps(
    graph: Graph,
    steps: Sequence[Any],
    output: int,
    norm: str,
    inputs: Sequence[float],
    for_any_size: bool = False,
    verbose: Verbose = 0,
) -> ProgramBounds:
    """Returns upper bounds for all tensors.

    Args:
        graph: The `Program`.
        steps: Its steps.
        output: Index of its output.
        norm: `"l2"` or `"linf"`.
        inputs: The bounds of the inputs.
        for_any_size: Boolean. Whether the bounds of convolutions should hold
            for images of any size.
        verbose: `"auto"`, 0 or 1: whether to draw a progress bar.
    """
    digest_nodes(step.node for step in steps)
    values = list(inputs)
    methods: list[tuple[str, ...]] = [()] * len(values)
    for step in track(steps, verbose, "operation", len(steps)):
        with collect_methods() as noted:
            values.append(_bound_step(graph, step, norm, values, for_any_size))
        methods.append(tuple(noted))
    return ProgramBounds(norm, tuple(values), tuple(methods), values[output])


def _bound_step(
    graph: Graph,
    step: Any,
    norm: str,
    values: list[float],
    for_any_size: bool,
) -> float:
    # NaN and negative numbers are not bounds.
    if not step.node.is_finite or norm not in step.node.norms:
        return math.inf
    indices = step.inputs
    bounds = [values[index] for index in indices]
    if isinstance(step.node, Join):
        is_extremum = isinstance(step.node, Extremum)
        bounds = _join(graph, indices, norm, values, is_extremum)
    if isinstance(step.node, Combine) and norm == "l2":
        return _add(graph, step.node.sizes, indices, values)
    shapes = [graph.shape_of(index) for index in indices]
    if for_any_size and step.node.is_bounded_without_shape:
        shapes = [None] * len(shapes)
    bound = step.node.propagate(norm, bounds, shapes)
    return bound if bound >= 0 else math.inf


def _join(
    graph: Graph,
    indices: tuple[int, ...],
    norm: str,
    values: list[float],
    is_extremum: bool,
) -> list[float]:
    """Bounds tensors together. Parts of one tensor share its bound."""
    # For an extremum, a repeated tensor counts once.
    distinct = tuple(dict.fromkeys(indices)) if is_extremum else indices
    if norm == "linf":
        return [values[index] for index in distinct]
    groups: dict[int, list[int]] = {}
    for index in distinct:
        groups.setdefault(find_source(graph, index), []).append(index)
    joined = []
    for source, members in groups.items():
        apart = hypot_up(*(values[index] for index in members))
        if len(members) > 1:
            copies = np.zeros(count_entries(graph.shape_of(source)) + 1)
            for index in members:
                entries = find_entries(graph, index, source)
                copies += np.bincount(entries.ravel(), minlength=len(copies))
            most = sqrt_up(float(np.max(copies[1:], initial=0.0)))
            apart = min(apart, multiply_up(most, values[source]))
        joined.append(apart)
    return joined


def _add(
    graph: Graph,
    sizes: Sequence[float],
    indices: tuple[int, ...],
    values: list[float],
) -> float:
    """Bounds a sum of tensors. Parts of one tensor share its bound.

    The norm of a matrix is at most the square root of its largest absolute row
    sum times its largest absolute column sum.
    """
    groups: dict[int, list[tuple[int, float]]] = {}
    for index, size in zip(indices, sizes, strict=True):
        source = find_source(graph, index)
        groups.setdefault(source, []).append((index, size))
    total = 0.0
    for source, members in groups.items():
        apart = add_up(*(multiply_up(w, values[i]) for i, w in members))
        if len(members) > 1:
            size = count_entries(graph.shape_of(source)) + 1
            columns = np.zeros(size)
            for index, weight in members:
                entries = find_entries(graph, index, source).ravel()
                counts = np.bincount(entries, minlength=size)
                columns = upward.add(columns, upward.multiply(counts, weight))
            rows = add_up(*(weight for _, weight in members))
            largest = float(np.max(columns[1:], initial=0.0))
            together = sqrt_up(multiply_up(rows, largest))
            apart = min(apart, multiply_up(together, values[source]))
        total = add_up(total, apart)
    return total
