"""Stock forms of layers whose `call` is made of `keras.ops` alone."""

from typing import Any

import keras


def to_functional(layer: Any) -> keras.Model:
    """Traces the `call` of a layer without weights into a stock model.

    Args:
        layer: A layer built on a single input.

    Returns:
        A functional `keras.Model` of `keras.ops`.

    Raises:
        ValueError: If an axis other than that of the batch has no known size.
    """
    shape = layer.get_build_config()["input_shape"][1:]
    if None in shape:
        raise ValueError(
            f"Layer '{layer.name}' has a stock form for inputs of known shape "
            "only. Build the model on a `keras.Input` with every size given. "
            f"Received: input shape {(None, *shape)}"
        )
    inputs = keras.Input(shape, dtype=layer.compute_dtype)
    return keras.Model(inputs, layer.call(inputs), name=layer.name)
