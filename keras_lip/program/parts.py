"""Finds the entries of another tensor that a tensor consists of."""

import math
from typing import Any
from typing import Protocol

import numpy as np

from keras_lip.program.node import SampleShape
from keras_lip.program.node import known
from keras_lip.program.nodes.merges import Concatenate
from keras_lip.program.nodes.selections import Selection
from keras_lip.program.nodes.selections import Slice
from keras_lip.types import Array


class Graph(Protocol):
    """The interface of a program, finished or under construction."""

    def step_of(self, index: int) -> Any:
        """Returns the step that computes a tensor, or `None` for an input."""

    def shape_of(self, index: int) -> SampleShape:
        """Returns the shape of a tensor."""


def find_source(
    graph: Graph, index: int, kind: type[Selection] = Selection
) -> int:
    """Returns the tensor that a tensor is a selection of.

    A concatenation of parts of one tensor is also a part of it.

    Args:
        graph: The graph.
        index: The tensor.
        kind: Class of the selections that are followed.
    """
    step = graph.step_of(index)
    if step is None:
        return index
    if isinstance(step.node, kind):
        (origin,) = step.inputs
        if _is_looked_through(graph, step.node, index, origin):
            return find_source(graph, origin, kind)
    elif isinstance(step.node, Concatenate) and known(graph.shape_of(index)):
        sources = {find_source(graph, each, kind) for each in step.inputs}
        if len(sources) == 1 and known(graph.shape_of(max(sources))):
            return sources.pop()
    return index


def _is_looked_through(
    graph: Graph, node: Selection, index: int, origin: int
) -> bool:
    shape = graph.shape_of(origin)
    if known(shape):
        return known(graph.shape_of(index))
    # A slice that keeps axes of unknown size acts in the same way on each of
    # their entries.
    return (
        shape is not None
        and isinstance(node, Slice)
        and all(
            size is not None or part == (None, None, None)
            for size, part in zip(shape, node.ranges, strict=False)
        )
    )


def find_entries(graph: Graph, index: int, source: int) -> Array:
    """Returns the entries of a source that a tensor consists of.

    Args:
        graph: The graph.
        index: The tensor.
        source: The result of `find_source` for the tensor.

    Returns:
        Integer array of shape `(1, *shape)`: the index of each entry, counted
        from one, or zero for other values. Axes of unknown size are represented
        by one of their entries, because all of them are treated in the same
        way.
    """
    if index == source:
        shape = tuple(
            1 if size is None else size for size in graph.shape_of(source) or ()
        )
        return np.arange(1, math.prod(shape) + 1).reshape(1, *shape)
    step = graph.step_of(index)
    parts = [find_entries(graph, each, source) for each in step.inputs]
    return step.node.apply(*parts)
