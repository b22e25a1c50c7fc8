"""Searches for pairs of inputs whose outputs are far apart."""

from collections.abc import Callable

import numpy as np

from keras_lip.types import Array


def largest_stretch(
    function: Callable[[Array], Array],
    pull_back: Callable[[Array, Array], Array],
    x: Array,
    directions: Array,
    length: float,
    steps: int,
    norm: str = "l2",
    epsilon: float = 2.0**-23,
    dtype: str = "float64",
) -> float:
    """Computes a lower estimate of a Lipschitz constant by gradient ascent.

    Each input gets a partner at a fixed distance. Gradient ascent moves the
    partner to increase the distance of the outputs. For a linear function in l2
    this is the power method.

    Args:
        function: Function of a batch that treats samples independently.
        pull_back: Function of inputs and weights that returns the gradients of
            the weighted sum of outputs.
        x: Array of inputs.
        directions: Array of the same shape. Initial directions of the partners.
        length: Float. Distance between an input and its partner.
        steps: Positive integer.
        norm: `"l2"` or `"linf"`. Norm of inputs and outputs.
        epsilon: Float. Relative precision of the function.
        dtype: Name of the dtype that the function rounds its inputs to.

    Returns:
        Float. The largest stretch found, minus a bound on the rounding errors
        of the outputs.
    """
    x = x.astype(dtype).astype("float64")
    before = function(x)
    rounding = 4 * epsilon
    best = 0.0
    for _ in range(steps):
        directions = _normalize(directions, norm)
        # The actual distance in the function's precision.
        partners = (x + directions * length).astype(dtype).astype("float64")
        images = function(partners)
        change = images - before
        apart = _norms(change, norm)
        apart -= rounding * (_norms(images, norm) + _norms(before, norm))
        distance = _norms(partners - x, norm)
        best = max(best, float(np.max(apart / np.maximum(distance, 1e-30))))
        directions = pull_back(partners, _ascend(change, norm))
        directions = np.where(np.isfinite(directions), directions, 0.0)
    return best


def _normalize(directions: Array, norm: str) -> Array:
    """Returns the steepest ascent directions, with norm one."""
    if norm == "linf":
        return np.sign(directions)
    scale = np.maximum(_norms(directions, norm), 1e-30)
    return directions / scale.reshape(-1, *[1] * (directions.ndim - 1))


def _ascend(change: Array, norm: str) -> Array:
    """Returns weights of the outputs whose weighted sum increases the norm."""
    if norm == "l2":
        return change
    flat = change.reshape(len(change), -1)
    largest = np.argmax(np.abs(flat), axis=1)[:, None]
    weights = np.zeros_like(flat)
    signs = np.sign(np.take_along_axis(flat, largest, axis=1))
    np.put_along_axis(weights, largest, signs, axis=1)
    return weights.reshape(change.shape)


def _norms(batch: Array, norm: str) -> Array:
    flat = batch.reshape(len(batch), -1)
    return np.linalg.norm(flat, ord=np.inf if norm == "linf" else 2, axis=-1)
