"""Initializers of weights: by name, config or array."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lip.types import Shape


def get_initializer(identifier: Any) -> Any:
    """Retrieves an initializer, as `keras.initializers.get` does.

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
    """Refuses an initializer that makes no weight of a shape.

    Args:
        initializer: What `get_initializer` returned.
        shape: Shape of the weight.
        weight: The weight, in words, for the error.

    Raises:
        ValueError: If it is an identity and the weight no matrix, or an array
            of another shape.
    """
    if isinstance(initializer, keras.initializers.Identity) and len(shape) != 2:
        raise ValueError(
            f"An identity is a matrix, and {weight} has the shape "
            f"{tuple(shape)}. Use another initializer, such as 'orthogonal', "
            "or an array of that shape."
        )
    if isinstance(initializer, keras.initializers.Constant):
        given = np.shape(ops.convert_to_numpy(initializer.value))
        if given and given != tuple(shape):
            raise ValueError(
                f"The array that {weight} starts with must have its shape, "
                f"{tuple(shape)}. Received: an array of shape {given}. A "
                "function of the shape can start weights of several shapes."
            )
