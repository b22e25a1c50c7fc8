"""Proven upper bound on the norm of a dense kernel."""

from keras_lip.bounds.row_sum_bound import row_sum_bound
from keras_lip.bounds.spectral_norm_bound import spectral_norm_bound
from keras_lip.types import Array


def dense_norm_bound(kernel: Array, norm: str) -> float:
    """Bounds the operator norm of the map `x -> x @ kernel`, from above.

    Args:
        kernel: Float64 array of shape `(inputs, outputs)`.
        norm: `"l2"` or `"linf"`, of inputs and outputs.

    Returns:
        Float. The bound, `inf` if an entry is not finite.
    """
    if norm == "linf":
        return row_sum_bound(kernel)
    return spectral_norm_bound(kernel)
