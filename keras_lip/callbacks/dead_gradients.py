"""Where the gradient of the loss vanishes, layer by layer."""

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

# What a walk does with a layer's output; it returns what goes on from there.
_Visit = Callable[[Any, Tensor], Tensor]


def dead_gradients(model: keras.Model, x: Any, y: Any) -> dict[str, float]:
    """Measures how much of the gradient at each layer's output is zero.

    The model runs at inference, and its state stays as it is.

    Args:
        model: A built and compiled model with one input and one output.
        x: Array of inputs.
        y: Array of labels.

    Returns:
        Dict of the share, for each layer by name, of the entries of its output
        (every channel, at every position, of every sample) at which the
        gradient of the compiled loss is exactly zero. Calls of a shared layer
        count together.

    Raises:
        ValueError: If the model has several inputs or outputs.
    """
    graph = get_graph(model)
    counts = len(graph.inputs), len(graph.outputs)
    if counts != (1, 1):
        raise ValueError(
            "Dead gradients are measured of models with one input and one "
            f"output. Received: {counts[0]} inputs, {counts[1]} outputs"
        )
    x = ops.convert_to_tensor(x, dtype=graph.inputs[0].dtype)
    y = ops.convert_to_tensor(y)
    sizes: list[tuple[int, int]] = []

    def record(layer: Any, output: Tensor) -> Tensor:
        sizes.append((id(layer), math.prod(output.shape)))
        return output

    def compute_loss(offsets: Tensor) -> Tensor:
        # One gradient, that of offsets added to all outputs, has them all.
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
    """Calls a model layer by layer, with a visit to each layer's output."""

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

    # A subclassed model may be called on another shape than it was built on.
    shape = tuple(inputs.shape) if hasattr(inputs, "shape") else None
    graph = get_graph(model, shape)
    return run_graph(graph, match_inputs(graph, inputs), apply)
