"""What parametrizations remember, in the weights of a layer."""

from typing import Any

import keras

from keras_lip.types import State


def add_state(layer: keras.layers.Layer, state: State) -> dict[str, Any]:
    """Adds non-trainable weights that start as the arrays of a state.

    Args:
        layer: The layer, while it is being built.
        state: What `Parametrization.initial_state` returned.

    Returns:
        Dict of variables by name, to pass to the parametrization.
    """
    return {
        name: layer.add_weight(
            name=name,
            shape=value.shape,
            initializer=keras.initializers.Constant(value),
            trainable=False,
            autocast=False,
        )
        for name, value in state.items()
    }


def assign_state(variables: dict[str, Any], state: State) -> None:
    """Moves the weights of a state on to the next one."""
    for name, value in state.items():
        variables[name].assign(value)
