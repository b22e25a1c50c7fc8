"""The constrained kernel of a layer, its state and its proven version."""

import math
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
    """Returns a layer's kernel at inference, or its proven kernel, on the host.

    Args:
        layer: A layer that has a `kernel` and a `_proven_kernel`.
        proven: Boolean. Whether to replace an estimated scale by one that is
            proven to be non-expansive.
    """
    if proven:
        return read_kernel(layer, layer._proven_kernel())
    return read_kernel(layer, compute_once(layer))


def shrink_kernel(kernel: Tensor, norm_bound: float, taps: int = 1) -> Tensor:
    """Divides a kernel by a proven bound on its norm, if that exceeds one.

    Args:
        kernel: Float32 tensor of shape `(..., rows, columns)`.
        norm_bound: Float. An upper bound on the norm of its operator.
        taps: Positive integer. Number of matrices of the kernel whose operators
            are added: the taps of a convolution, but not the frequencies of a
            Fourier transform, which are separate. Defaults to `1`.

    Returns:
        Float32 tensor with a norm of at most one, rounding included.
    """
    if norm_bound <= 1:
        return kernel
    # Each product is off by at most `u = 2^-24` times its value. All errors
    # together have at most the norm `sqrt(taps)` times their Frobenius norm, by
    # the triangle and the Cauchy-Schwarz inequality, and the Frobenius norm of
    # a kernel is at most `sqrt(columns)` times its norm: the mean over all
    # frequencies of a sum of at most `columns` squared singular values. In
    # l-infinity, the errors have at most `u` times the norm.
    share = 2.0**-24 * math.sqrt(taps * kernel.shape[-1])
    # Two units in the last place cover the rounding of the factor.
    factor = (1 - 2.0**-22) / (norm_bound * (1 + share))
    return ops.multiply(kernel, np.float32(factor))


def add_state(layer: keras.layers.Layer, state: State) -> dict[str, Any]:
    """Adds the arrays of a state as non-trainable weights.

    Args:
        layer: The layer, while it is being built.
        state: The result of `Parametrization.initial_state`.

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
            # It depends on weights alone, so it is equal on all replicas.
            aggregation="only_first_replica",
        )
        for name, value in state.items()
    }


def assign_state(variables: dict[str, Any], state: State) -> None:
    """Assigns the next state, if its weights can be updated."""
    if can_move_state(variables):
        for name, value in state.items():
            variables[name].assign(value)


def can_move_state(variables: dict[str, Any]) -> bool:
    """Whether the weights of a state can be updated, as in `can_move`."""
    return all(map(can_move, variables.values()))
