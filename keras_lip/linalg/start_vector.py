"""Where a power iteration starts."""

from typing import Any

import numpy as np

from keras_lip.types import Array


def start_vector(shape: tuple[int, ...], dtype: Any = None) -> Array:
    """Returns the vector that every power iteration of a shape starts from.

    Any vector will do that is not orthogonal to the leading one, and no kernel
    that is drawn at random has a leading vector orthogonal to this one.

    Args:
        shape: Shape of the vector.
        dtype: Dtype of the vector. Defaults to `None`, for `"float32"`.

    Returns:
        Array of normal random numbers, the same on every backend.
    """
    vector = np.random.default_rng(0).normal(size=shape)
    return vector.astype(dtype or "float32")
