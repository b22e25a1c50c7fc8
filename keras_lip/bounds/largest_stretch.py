"""The pairs of inputs that a function drives furthest apart."""

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
    """Estimates a Lipschitz constant, from below, by gradient ascent.

    Partners of the inputs, at a fixed distance, are moved to where the outputs
    part. For a linear function in l2 this is the power method.

    Args:
        function: Function of a batch that treats samples one by one.
        pull_back: Function of inputs and weights that returns the gradients of
            the weighted sum of outputs.
        x: Array of inputs.
        directions: Array of the same shape. Where to look first.
        length: Float. Distance of the partners.
        steps: Positive integer.
        norm: `"l2"` or `"linf"`, of inputs and outputs.
        epsilon: Float. Relative precision of the function.
        dtype: Name of the dtype that the function rounds its inputs to.

    Returns:
        Float. The largest stretch found, less what a few roundings of the
        outputs may have added to it.
    """
    x = x.astype(dtype).astype("float64")
    before = function(x)
    rounding = 4 * epsilon
    best = 0.0
    for _ in range(steps):
        directions = _normalize(directions, norm)
        # The distance that is really taken, in the function's precision.
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
    """Returns the inputs of norm one that the gradients point to."""
    if norm == "linf":
        return np.sign(directions)
    scale = np.maximum(_norms(directions, norm), 1e-30)
    return directions / scale.reshape(-1, *[1] * (directions.ndim - 1))


def _ascend(change: Array, norm: str) -> Array:
    """Returns weights of the outputs along which their norm grows."""
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
