"""Copies of layers, with their weights."""

from typing import Any

import keras


def copy_layer(layer: Any, args: tuple[Any, ...]) -> Any:
    """Copies a layer, or operation, with its weights.

    Args:
        layer: A built layer, or a `keras.Operation`.
        args: The symbolic arguments of its call.

    Returns:
        A layer, or operation, of the same class.
    """
    copy = type(layer).from_config(layer.get_config())
    if not isinstance(layer, keras.layers.Layer):
        return copy
    if layer.weights:
        shapes = keras.tree.map_structure(lambda tensor: tensor.shape, args)
        copy.build(*shapes)
        copy.set_weights(layer.get_weights())
    if getattr(layer, "lora_enabled", False):
        # `Dense` forgets it in `build`.
        copy.lora_alpha = layer.lora_alpha
    if hasattr(copy, "finalize_state"):
        # `Normalization` computes with constants that it derives from weights.
        copy.finalize_state()
    return copy
