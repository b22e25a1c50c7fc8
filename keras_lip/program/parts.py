"""Which entries of another tensor a tensor consists of."""

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
    """What is asked of a program, or of one that is being built."""

    def step_of(self, index: int) -> Any:
        """Returns the step that made a tensor, or `None` for an input."""

    def shape_of(self, index: int) -> SampleShape:
        """Returns the shape of a tensor."""


def find_source(
    graph: Graph, index: int, kind: type[Selection] = Selection
) -> int:
    """Returns the tensor that a tensor is made of, by selections alone.

    What is concatenated from parts of one tensor is a part of it as well.

    Args:
        graph: The graph.
        index: The tensor.
        kind: Class of the selections that are looked through.
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
    # A slice that takes all along the axes whose size is not known does the
    # same to each of their entries.
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
        source: What `find_source` returns for it.

    Returns:
        Integer array of shape `(1, *shape)`: the number of the entry, counted
        from one on, and zero for what is none. Axes of unknown size stand for
        one of their entries, as what is done to all is the same.
    """
    if index == source:
        shape = tuple(
            1 if size is None else size for size in graph.shape_of(source) or ()
        )
        return np.arange(1, math.prod(shape) + 1).reshape(1, *shape)
    step = graph.step_of(index)
    parts = [find_entries(graph, each, source) for each in step.inputs]
    return step.node.apply(*parts)
