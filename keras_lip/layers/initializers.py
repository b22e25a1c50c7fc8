"""Initializers of weights, by name, config or array."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lip.types import Shape


def get_initializer(identifier: Any) -> Any:
    """Returns an initializer, as `keras.initializers.get` does.

    Args:
        identifier: Name, config or instance of an initializer, a function of
            the shape and the dtype, or an array. An array becomes a
            `keras.initializers.Constant`, which can be saved.

    Returns:
        An initializer, or the function.
    """
    if isinstance(identifier, np.ndarray) or ops.is_tensor(identifier):
        return keras.initializers.Constant(ops.convert_to_numpy(identifier))
    return keras.initializers.get(identifier)


def check_initializer(initializer: Any, shape: Shape, weight: str) -> None:
    """Raises an error if an initializer cannot create a weight of a shape.

    Args:
        initializer: The result of `get_initializer`.
        shape: Shape of the weight.
        weight: Description of the weight, for the error message.

    Raises:
        ValueError: If the initializer is an identity and the weight is not a
            matrix, or it is an array of another shape.
    """
    if isinstance(initializer, keras.initializers.Identity) and len(shape) != 2:
        raise ValueError(
            f"The identity initializer creates a matrix, but {weight} has the "
            f"shape {tuple(shape)}. Use another initializer, such as "
            "'orthogonal', or an array of that shape."
        )
    if isinstance(initializer, keras.initializers.Constant):
        given = np.shape(ops.convert_to_numpy(initializer.value))
        if given and given != tuple(shape):
            raise ValueError(
                f"The initial array of {weight} must have its shape, "
                f"{tuple(shape)}. Received: an array of shape {given}. To "
                "initialize weights of several shapes, pass a function of the "
                "shape."
            )
