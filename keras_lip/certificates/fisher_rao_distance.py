"""The Fisher-Rao distance of probabilities."""

from typing import Any

import numpy as np
from keras import ops

from keras_lip.types import Array

# Sums of float32 probabilities differ from one by less.
_TOLERANCE = 1e-3


def fisher_rao_distance(p: Any, q: Any) -> Array:
    """Computes the Fisher-Rao distance of categorical distributions.

    It is `2 arccos(sum sqrt(p_i q_i))`, the length of the shortest path between
    `p` and `q` if lengths are measured by the Fisher information. It is between
    0 and pi, and twice the angle of the unit vectors `sqrt(p)` and `sqrt(q)`.
    `CertificationReport.fisher_rao_bound` bounds it for the probabilities of a
    classifier.

    Args:
        p: Array of probabilities of shape `(..., classes)`.
        q: Array of probabilities of the same shape, or of one that broadcasts.

    Returns:
        Float64 array of shape `(...)`. It is computed from the difference of
        the unit vectors, so that small distances are accurate.

    Raises:
        ValueError: If a probability is negative or not finite, or the
            probabilities of a distribution do not sum to one.

    Example:

    >>> distance = keras_lip.certificates.fisher_rao_distance([1, 0], [0, 1])
    >>> round(float(distance), 4)
    3.1416

    Reference:

    - [Rao, 1945](https://doi.org/10.1007/978-1-4612-0919-5_16)
    - [Amari, 2016](https://doi.org/10.1007/978-4-431-55978-8)
    """
    p, q = _to_probabilities("p", p), _to_probabilities("q", q)
    chord = np.linalg.norm(np.sqrt(p) - np.sqrt(q), axis=-1)
    # Vectors of the angle `a` are `2 sin(a / 2)` apart, at most `sqrt(2)` here.
    found: Array = 4 * np.arcsin(np.minimum(chord / 2, np.sqrt(0.5)))
    return found


def _to_probabilities(name: str, values: Any) -> Array:
    if not isinstance(values, list | tuple):
        values = ops.convert_to_numpy(values)
    array = np.asarray(values, "float64")
    sums = np.sum(array, axis=-1) if array.ndim else np.zeros(1)
    valid = np.isfinite(array).all() and np.all(array >= 0)
    if not valid or np.any(np.abs(sums - 1) > _TOLERANCE):
        raise ValueError(
            f"`{name}` must contain probabilities that sum to one along the "
            f"last axis. Received: {name}={values!r}"
        )
    return array / sums[..., None]
