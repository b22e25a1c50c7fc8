"""Tells by their bits whether weights have changed."""

import concurrent.futures
import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from keras_lip.read_weight import view_tensor
from keras_lip.types import Array


def digest_weights(variables: Iterable[Any]) -> tuple[bytes, ...]:
    """Returns the SHA-256 digest of the values of each variable.

    The identity of a value does not tell whether it has changed, because
    TensorFlow and PyTorch assign in place.

    Args:
        variables: Iterable of `keras.Variable`.
    """
    arrays = [view_tensor(each) for each in variables]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        return tuple(pool.map(_digest_array, arrays))


def _digest_array(array: Array) -> bytes:
    # bfloat16 arrays have a buffer only when viewed as bytes.
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return hashlib.sha256(flat.data).digest()
