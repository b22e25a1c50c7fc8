"""The layers of a model, by name."""

from collections.abc import Iterator
from typing import Any

import keras


def named_layers(
    model: keras.Model, trainable_only: bool = False
) -> Iterator[tuple[str, Any]]:
    """Yields the layers of a model, those of nested models in their place.

    Args:
        model: A model.
        trainable_only: Boolean. Whether to leave out frozen layers, and the
            layers of frozen models. Defaults to `False`.

    Yields:
        Pairs of a name and a layer that is no model. The name of a layer of a
        nested model is `"<model>/<layer>"`. A layer that is used several times
        comes once.
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
