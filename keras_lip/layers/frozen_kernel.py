"""The kernel of a layer that is frozen."""

from typing import Any

from keras_lip.held_values import compute_once
from keras_lip.read_weight import read_kernel
from keras_lip.types import Array


def frozen_kernel(layer: Any, proven: bool) -> Array:
    """Returns a layer's kernel on the host, as it runs or as it is proven.

    Args:
        layer: A layer that has a `kernel` and a `proven_kernel`.
        proven: Boolean. Whether an estimated scale is to be replaced by one
            that is proven to be non-expansive.
    """
    if proven:
        return read_kernel(layer, layer.proven_kernel())
    return read_kernel(layer, compute_once(layer, lambda: layer.kernel))
