"""Measures where the gradient of the loss vanishes, layer by layer."""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lip.autodiff import gradient
from keras_lip.graph import get_graph
from keras_lip.graph import match_inputs
from keras_lip.graph import run_graph
from keras_lip.model_layers import named_layers
from keras_lip.types import Tensor

# Function that a walk applies to a layer's output. The walk continues with its
# result.
_Visit = Callable[[Any, Tensor], Tensor]


def dead_gradients(model: keras.Model, x: Any, y: Any) -> dict[str, float]:
    """Measures the fraction of zero gradients at each layer's output.

    The model runs in inference mode, and its state does not change.

    Args:
        model: A built and compiled model with one input and one output.
        x: Array of inputs.
        y: Array of labels.

    Returns:
        Dict from the name of each layer to the fraction of entries of its
        output (over all channels, positions and samples) at which the gradient
        of the compiled loss is exactly zero. Calls of a shared layer are
        counted together.

    Raises:
        ValueError: If the model has several inputs or outputs.
    """
    graph = get_graph(model)
    counts = len(graph.inputs), len(graph.outputs)
    if counts != (1, 1):
        raise ValueError(
            "Dead gradients are measured only for models with one input and "
            f"one output. Received: {counts[0]} inputs, {counts[1]} outputs"
        )
    x = ops.convert_to_tensor(x, dtype=graph.inputs[0].dtype)
    y = ops.convert_to_tensor(y)
    sizes: list[tuple[int, int]] = []

    def record(layer: Any, output: Tensor) -> Tensor:
        sizes.append((id(layer), math.prod(output.shape)))
        return output

    def compute_loss(offsets: Tensor) -> Tensor:
        # Offsets are added to all outputs, so one gradient contains the
        # gradients at all layers.
        start = 0

        def shift(layer: Any, output: Tensor) -> Tensor:
            nonlocal start
            end = start + math.prod(output.shape)
            offset = ops.reshape(offsets[start:end], output.shape)
            start = end
            return output + ops.cast(offset, output.dtype)

        (y_pred,) = _run(model, x, shift)
        return model.compute_loss(x=x, y=y, y_pred=y_pred, training=False)

    with keras.StatelessScope():
        _run(model, x, record)
        zeros = ops.zeros((sum(size for _, size in sizes),), dtype="float32")
        dead = ops.convert_to_numpy(gradient(compute_loss, zeros)) == 0
    ends = np.cumsum([size for _, size in sizes])
    parts: dict[int, list[Any]] = {}
    for (layer, _), part in zip(sizes, np.split(dead, ends[:-1]), strict=True):
        parts.setdefault(layer, []).append(part)
    return {
        name: float(np.mean(np.concatenate(parts[id(layer)])))
        for name, layer in named_layers(model)
        if id(layer) in parts
    }


def _run(model: Any, inputs: Any, visit: _Visit) -> list[Any]:
    """Calls a model layer by layer, and applies `visit` to each output."""

    def apply(
        layer: Any,
        outputs: list[Tensor],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        if isinstance(layer, keras.Model):
            return _run(layer, args[0], visit)
        value = layer(*args, **kwargs)
        if not isinstance(layer, keras.layers.Layer):
            return value
        return keras.tree.map_structure(lambda t: visit(layer, t), value)

    # A subclassed model may be called with another shape than in `build`.
    shape = tuple(inputs.shape) if hasattr(inputs, "shape") else None
    graph = get_graph(model, shape)
    return run_graph(graph, match_inputs(graph, inputs), apply)
