"""What parametrizations remember, in the weights of a layer."""

from typing import Any

import keras

from keras_lip.traces import can_move
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
    """Moves the weights of a state on to the next one, where they can move."""
    if can_move_state(variables):
        for name, value in state.items():
            variables[name].assign(value)


def can_move_state(variables: dict[str, Any]) -> bool:
    """Whether the weights of a state can move, as `can_move` says."""
    return all(map(can_move, variables.values()))
