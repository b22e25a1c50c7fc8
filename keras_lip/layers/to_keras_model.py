"""Models of stock Keras layers that compute what a model of ours does."""

from typing import Any

import keras

from keras_lip.layers.lipschitz_layer import LipschitzLayer
from keras_lip.layers.rebuild_model import copy_layer
from keras_lip.layers.rebuild_model import rebuild_model


def to_keras_model(
    model: keras.Model, audited: bool = True, omit: Any = None
) -> keras.Model:
    """Rebuilds a model from stock layers that hold the weights that run.

    Args:
        model: A built model. It is left as it is.
        audited: Boolean. Passed to `LipschitzLayer.to_keras_layer`.
        omit: A layer of one input that shall pass its input on instead.

    Returns:
        A functional `keras.Model` of `keras.layers` and `keras.ops` alone.

    Raises:
        ValueError: If the model is not built or cannot be traced, or a layer
            has no stock form.
    """

    def convert(layer: Any, args: tuple[Any, ...]) -> Any:
        if layer is omit:
            return keras.layers.Identity(dtype=layer.compute_dtype)
        if isinstance(layer, LipschitzLayer):
            return layer.to_keras_layer(audited)
        return copy_layer(layer, args)

    return rebuild_model(model, convert)
