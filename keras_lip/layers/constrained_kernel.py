"""The constrained kernel of a layer, frozen and shrunk to what is proven."""

from typing import Any

import numpy as np
from keras import ops

from keras_lip.held_values import compute_once
from keras_lip.read_weight import read_kernel
from keras_lip.types import Array
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
