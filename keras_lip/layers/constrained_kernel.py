"""The constrained kernel of a layer: its state, and what is proven of it."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lip.held_values import compute_once
from keras_lip.read_weight import read_kernel
from keras_lip.traces import can_move
from keras_lip.types import Array
from keras_lip.types import State
from keras_lip.types import Tensor


def frozen_kernel(layer: Any, proven: bool) -> Array:
    """Returns a layer's kernel on the host, as it runs or as it is proven.

    Args:
        layer: A layer that has a `kernel` and a `_proven_kernel`.
        proven: Boolean. Whether an estimated scale is to be replaced by one
            that is proven to be non-expansive.
    """
    if proven:
        return read_kernel(layer, layer._proven_kernel())
    return read_kernel(layer, compute_once(layer))


def shrink_kernel(kernel: Tensor, norm_bound: float) -> Tensor:
    """Divides a kernel by a proven bound on its norm, where that exceeds one.

    Args:
        kernel: Float32 tensor.
        norm_bound: Float. A bound from above on the norm of its operator.

    Returns:
        Float32 tensor of a norm of at most one, roundings included.
    """
    if norm_bound <= 1:
        return kernel
    # Two units in the last place make up for the rounding of the factor and of
    # the product; what the latter adds to the norm is far below its modulus.
    return ops.multiply(kernel, np.float32((1 - 2.0**-22) / norm_bound))


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
