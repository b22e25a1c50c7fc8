"""Models rebuilt layer by layer."""

from collections.abc import Callable
from typing import Any

import keras

from keras_lip.deep_recursion import deep_recursion
from keras_lip.graph import get_graph
from keras_lip.graph import run_graph
from keras_lip.types import Tensor

# What makes the copy of a layer: a function of the layer and of the symbolic
# arguments of its call.
Convert = Callable[[Any, tuple[Any, ...]], Any]


def rebuild_model(
    model: keras.Model, convert: Convert, dtype: str | None = None
) -> keras.Model:
    """Rebuilds a model from copies of its layers.

    Args:
        model: A built model. It is left as it is.
        convert: Function of `(layer, args)` that returns a built layer of the
            same input and output shapes. Nested models are rebuilt, not passed.
        dtype: Name of the dtype of the inputs. Defaults to that of the model's.

    Returns:
        A functional `keras.Model`.

    Raises:
        ValueError: If the model is not built or cannot be traced.
    """
    copies: dict[int, Any] = {}

    def apply(
        layer: Any,
        outputs: list[Tensor],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        # A layer that the model calls twice is one layer in the copy as well.
        if id(layer) not in copies:
            nested = isinstance(layer, keras.Model)
            copies[id(layer)] = (
                rebuild_model(layer, convert, dtype)
                if nested
                else convert(layer, args)
            )
        return copies[id(layer)](*args, **kwargs)

    inputs = [
        keras.Input(
            batch_shape=tensor.shape,
            dtype=dtype or tensor.dtype,
            name=tensor.name,
        )
        for tensor in get_graph(model).inputs
    ]
    with deep_recursion():
        outputs = run_graph(model, inputs, apply)
        if len(inputs) == len(outputs) == 1:
            return keras.Model(inputs[0], outputs[0], name=model.name)
        return keras.Model(inputs, outputs, name=model.name)


def copy_layer(
    layer: Any, args: tuple[Any, ...], dtype: str | None = None
) -> Any:
    """Copies a layer, or operation, with its weights.

    Args:
        layer: A built layer, or a `keras.Operation`.
        args: The symbolic arguments of its call.
        dtype: Name of the copy's dtype. Defaults to the layer's own policy.

    Returns:
        A layer, or operation, of the same class.
    """
    config = layer.get_config()
    if dtype is not None and "dtype" in config:
        config["dtype"] = dtype
    if not isinstance(layer, keras.layers.Layer):
        return type(layer).from_config(config)
    copy = type(layer).from_config(config)
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
