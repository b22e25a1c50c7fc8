"""The layers of a model, by name."""

from collections.abc import Iterator
from typing import Any

import keras


def named_layers(model: keras.Model) -> Iterator[tuple[str, Any]]:
    """Yields the layers of a model, those of nested models in their place.

    Args:
        model: A model.

    Yields:
        Pairs of a name and a layer that is no model. The name of a layer of a
        nested model is `"<model>/<layer>"`. A layer that is used several times
        comes once.
    """
    seen: set[int] = set()
    for name, layer in _walk(model, ""):
        if id(layer) not in seen:
            seen.add(id(layer))
            yield name, layer


def _walk(model: keras.Model, prefix: str) -> Iterator[tuple[str, Any]]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _walk(layer, f"{prefix}{layer.name}/")
        else:
            yield prefix + layer.name, layer
