"""Proven upper bound on norms of linear maps between largest entries."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from keras_lip.proofs.methods import note_method
from keras_lip.proofs.rounding import inflate_up


def row_sum_bound(
    kernel: npt.ArrayLike, axes: int | Sequence[int] = 0
) -> float:
    """Bounds the operator norm of a linear map in the l-infinity norm.

    That is the largest sum, over the outputs, of the magnitudes of what an
    output weighs its inputs by. Padding with zeros leaves some of them out, and
    circular padding none.

    Args:
        kernel: Real array, converted to float64.
        axes: Integer, or several. The axes of the inputs of one output: `0` for
            the kernel of a dense layer of shape `(inputs, outputs)`, all but
            the last for that of a convolution.

    Returns:
        Float. The bound, rounded up; `inf` if an entry is not finite.

    Example:

    >>> 7.0 <= row_sum_bound([[3.0, 1.0], [-4.0, 0.0]]) < 7.0 + 1e-13
    True
    """
    note_method("sums of magnitudes")
    kernel = np.asarray(kernel).astype(np.float64)
    if not np.all(np.isfinite(kernel)):
        return math.inf
    axes = (axes,) if isinstance(axes, int) else tuple(axes)
    terms = math.prod(kernel.shape[axis] for axis in axes)
    with np.errstate(over="ignore"):
        sums = np.sum(np.abs(kernel), axis=axes)
    return inflate_up(float(np.max(sums, initial=0.0)), terms)
