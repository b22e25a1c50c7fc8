"""The layers of a model, including those of nested models."""

from collections.abc import Iterator
from typing import Any

import keras

from keras_lip.graph import get_graph
from keras_lip.graph import run_graph
from keras_lip.types import Tensor


def named_layers(
    model: keras.Model, trainable_only: bool = False
) -> Iterator[tuple[str, Any]]:
    """Yields the named layers of a model, including those of nested models.

    Args:
        model: A model.
        trainable_only: Boolean. Whether to skip frozen layers, and the layers
            of frozen models. Defaults to `False`.

    Yields:
        Pairs of a name and a layer that is not a model. Layers of a nested
        model are named `"<model>/<layer>"`. A layer that is used several times
        is yielded once.
    """
    seen: set[int] = set()
    for name, layer in _walk(model, "", trainable_only):
        if id(layer) not in seen:
            seen.add(id(layer))
            yield name, layer


def _walk(
    model: keras.Model, prefix: str, trainable_only: bool
) -> Iterator[tuple[str, Any]]:
    if trainable_only and not model.trainable:
        return
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _walk(layer, f"{prefix}{layer.name}/", trainable_only)
        elif layer.trainable or not trainable_only:
            yield prefix + layer.name, layer


def visit_layers(layer: Any) -> list[Any]:
    """Returns the layers and operations of a model and its nested models.

    Args:
        layer: A layer or a model. If the model is not built, its list of layers
            is returned.

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
