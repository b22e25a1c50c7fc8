"""Reads layers whose bound a user has given."""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_lip.graph import run_graph
from keras_lip.graph import trace_layer
from keras_lip.program.builder import Wire
from keras_lip.program.freezing.registry import RULES
from keras_lip.program.freezing.registry import find_norms
from keras_lip.program.node import SampleShape
from keras_lip.program.nodes.claimed import Claimed
from keras_lip.program.program import Program
from keras_lip.read_weight import read_weight
from keras_lip.types import Shape


class ShapedBound(float):
    """The bound of an input, for users' rules that need its shape."""

    shape: Shape | None = None


def read_claim(
    layer: Any, wires: list[Wire], argument: Any, apply: Callable[..., Any]
) -> Wire:
    """Adds a layer whose bound a user has given.

    Args:
        layer: A layer, or an operation of `keras.ops`.
        wires: Its inputs.
        argument: The inputs as its rules take them: one, or a structure.
        apply: A function that adds each operation of its `call`, as in
            `run_graph`.

    Returns:
        The `Wire` of its output.

    Raises:
        ValueError: If the layer has several inputs and no rule for them.
    """
    rules = RULES.find(layer)
    finite = all(
        np.isfinite(read_weight(weight)).all()
        for weight in getattr(layer, "weights", [])
    )
    constants = []
    for norm in find_norms(layer):
        if norm in rules:
            # The bound for inputs with bounds of one also holds for inputs with
            # smaller bounds, and scales with larger bounds.
            bounds = keras.tree.map_structure(_bound_by_one, argument)
            value = rules[norm](layer, bounds)
        elif len(wires) > 1:
            raise ValueError(
                f"Layer '{layer.name}' of type `{type(layer).__name__}` has a "
                "`lipschitz_bound()`, which is for layers of one input. "
                f"Received: {len(wires)} inputs. Register a rule with "
                "`@keras_lip.bounds.propagate_bound.register`."
            )
        else:
            value = layer.lipschitz_bound()
        known = finite and 0 <= value
        constants.append((norm, float(value) if known else math.inf))
    program, target = _trace_call(layer, wires, apply)
    label = f"'{layer.name}' of type `{type(layer).__name__}`"
    node = Claimed(tuple(constants), program, target, label)
    return wires[0].then(node, *wires[1:])


def _bound_by_one(leaf: Any) -> Any:
    if not isinstance(leaf, Wire):
        return leaf
    bound = ShapedBound(1.0)
    bound.shape = None if leaf.shape is None else (None, *leaf.shape)
    return bound


def _trace_call(
    layer: Any, wires: list[Wire], apply: Callable[..., Any]
) -> tuple[Program | None, SampleShape]:
    """Reads the `call` of a layer that consists of known operations."""
    builder = wires[0].builder
    shapes = [wire.shape for wire in wires]
    dtype = getattr(layer, "compute_dtype", "float32")
    try:
        graph = trace_layer(layer, shapes, dtype)
    except Exception:  # A user's `call` may raise any error.
        return None, None
    target = tuple(graph.outputs[0].shape[1:])
    inner = builder.inside(shapes, [dtype] * len(shapes))
    try:
        (output,) = run_graph(graph, inner.inputs, apply)
        program = inner.finish(output)
    except (ValueError, TypeError, NotImplementedError):
        return None, target
    # The origin of the parts is the layer.
    return program, target
