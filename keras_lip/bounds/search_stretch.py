"""The pairs of inputs that a function drives furthest apart."""

from collections.abc import Callable

import keras
import numpy as np
from keras import ops

from keras_lip.autodiff import gradient
from keras_lip.bounds.read_kernel import read_weight
from keras_lip.types import Array
from keras_lip.types import Tensor

# Keras multiplies float64 matrices in float32, except on TensorFlow.
_EPSILONS = {
    "bfloat16": 2.0**-7,
    "float16": 2.0**-10,
    "float32": 2.0**-23,
    "float64": 2.0**-23,
}


def search_stretch(
    function: Callable[[Tensor], Tensor],
    x: Tensor,
    directions: Array,
    length: float,
    steps: int,
    norm: str = "l2",
    epsilon: float | None = None,
) -> float:
    """Estimates a Lipschitz constant, from below, by gradient ascent.

    Partners of the inputs, at a fixed distance, are moved to where the outputs
    part. For a linear function in l2 this is the power method.

    Args:
        function: Function of a batch that treats samples one by one.
        x: Tensor of inputs.
        directions: Array of the same shape. Where to look first.
        length: Float. Distance of the partners.
        steps: Positive integer.
        norm: `"l2"` or `"linf"`, of inputs and outputs.
        epsilon: Float. Relative precision of the function. Defaults to that of
            the dtype of its outputs, as Keras computes.

    Returns:
        Float. The largest stretch found, less what a few roundings of the
        outputs may have added to it.
    """
    outputs = ops.stop_gradient(function(x))
    before = read_weight(outputs)
    # A model may round more than its own dtype says, in one of its layers.
    dtype = keras.backend.standardize_dtype(outputs.dtype)
    rounding = 4 * (_EPSILONS[dtype] if epsilon is None else epsilon)
    best = 0.0
    for _ in range(steps):
        directions = _normalize(directions, norm)
        partners = ops.convert_to_tensor(x) + ops.convert_to_tensor(
            directions * length, dtype=x.dtype
        )
        images = read_weight(function(partners))
        change = images - before
        apart = _norms(change, norm)
        apart -= rounding * (_norms(images, norm) + _norms(before, norm))
        # The distance that was really taken, in the function's precision.
        distance = _norms(read_weight(partners) - read_weight(x), norm)
        best = max(best, float(np.max(apart / np.maximum(distance, 1e-30))))
        weights = ops.convert_to_tensor(
            _ascend(change, norm), dtype=outputs.dtype
        )

        def weigh(y: Tensor, weights: Tensor = weights) -> Tensor:
            return ops.sum(ops.multiply(function(y), weights))

        directions = read_weight(gradient(weigh, partners))
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
