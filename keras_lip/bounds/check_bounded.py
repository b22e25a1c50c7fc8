"""A model's layers, checked for bounds before any weight is looked at."""

from typing import Any

import keras

from keras_lip.bounds.propagate_bound import propagate_bound
from keras_lip.graph import get_graph
from keras_lip.graph import run_graph
from keras_lip.types import Tensor


def check_bounded(layer: Any) -> None:
    """Refuses a layer, or a model with a layer, of which no bound is known.

    Args:
        layer: A layer, or a model; of one that is not built, the layers that it
            lists are checked.

    Raises:
        ValueError: If no bound is known, naming the layer and saying why.
    """
    if not isinstance(layer, keras.Model):
        propagate_bound.check_bounded(layer)
    elif layer.built:
        run_graph(layer, [None] * len(get_graph(layer).inputs), _check)
    else:
        for inner in layer.layers:
            check_bounded(inner)


def _check(
    layer: Any,
    outputs: list[Tensor],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> list[None]:
    check_bounded(layer)
    return [None] * len(outputs)
