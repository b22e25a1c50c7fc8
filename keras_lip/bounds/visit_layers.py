"""The layers that a model computes with, at any depth."""

from typing import Any

import keras

from keras_lip.graph import get_graph
from keras_lip.graph import run_graph
from keras_lip.types import Tensor


def visit_layers(layer: Any) -> list[Any]:
    """Returns the layers and operations of a model, nested models resolved.

    Args:
        layer: A layer, or a model; of one that is not built, the layers that it
            lists are returned.

    Raises:
        ValueError: If the `call` of a subclassed model cannot be traced.
    """
    if isinstance(layer, keras.layers.TimeDistributed):
        return [layer, *visit_layers(layer.layer)]
    if not isinstance(layer, keras.Model):
        return [layer]
    if not layer.built:
        return [inner for part in layer.layers for inner in visit_layers(part)]
    found: list[Any] = []

    def visit(
        inner: Any,
        outputs: list[Tensor],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> list[None]:
        found.extend(visit_layers(inner))
        return [None] * len(outputs)

    run_graph(layer, [None] * len(get_graph(layer).inputs), visit)
    return found
