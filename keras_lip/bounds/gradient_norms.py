"""Norms of gradients at the layers of a model."""

from typing import Any

import keras
import numpy as np

from keras_lip.bounds.jacobian_singular_values import check_points
from keras_lip.program import Program
from keras_lip.program import freeze
from keras_lip.types import Array


def gradient_norms(
    model: keras.Model, inputs: Any, weights: Any = None, seed: int = 0
) -> dict[str, Array]:
    """Computes the norm of a gradient at the output of every layer.

    For each sample the sum of the outputs times `weights` is differentiated
    with respect to the output of every layer. If `weights` has norm one and all
    following layers preserve the norm of gradients, the result is one. Where it
    falls, a layer attenuates the gradient.

    The gradients are computed in float64 from the numbers that the model uses
    at inference. They prove nothing.

    Args:
        model: A built model with one input and one output, of layers that
            `keras_lip.bounds.lipschitz_bound` knows.
        inputs: Array of shape `(num_samples, *input_shape)`. The points at
            which to compute gradients.
        weights: Array of the shape of the outputs. Defaults to `None`, for
            random directions of norm one.
        seed: Integer. Seed of the random directions. Defaults to `0`.

    Returns:
        Dict from the names of the input and of all layers, from the input to
        the output, to float64 arrays of shape `(num_samples,)`. If a layer is
        used several times, or layers of nested models have the same name, the
        later ones are named `"name (2)"`, `"name (3)"` and so on. A layer that
        does not change its input has the norm at its input. A layer is missing
        if the output does not depend on it, or if the frozen program computes
        it together with the next layer.

    Raises:
        TypeError: If `model` is not a `keras.Model`.
        ValueError: If the model has several inputs or outputs or an unknown
            layer, `inputs` is empty or not finite, or the shape of `weights` is
            not the shape of the outputs.

    Example:

    >>> layer = keras_lip.layers.OrthogonalDense(4, name="dense")
    >>> model = keras.Sequential([keras.Input((4,), name="x"), layer])
    >>> norms = keras_lip.bounds.gradient_norms(model, np.ones((2, 4)))
    >>> [name for name in norms], bool(abs(norms["x"] - 1).max() < 1e-5)
    (['x', 'dense'], True)

    Reference:

    - [Anil et al., 2019](https://arxiv.org/abs/1811.05381), on the preservation
      of gradient norms
    - [Li et al., 2019](https://arxiv.org/abs/1911.00937), section 2.2
    """
    points = check_points(model, inputs)
    program = freeze(model)
    if program.num_inputs != 1:
        raise ValueError(
            f"Model '{model.name}' must have one input. Received: "
            f"{program.num_inputs} inputs"
        )
    points = points.astype("float64")
    if weights is None:
        weights = _draw_directions(program.run(points).shape, seed)
    weights = np.asarray(weights, "float64")
    expected = program.run(points[:1]).shape[1:]
    if weights.shape != (len(points), *expected):
        raise ValueError(
            "`weights` must have the shape of the outputs, "
            f"{(len(points), *expected)}. Received: weights of shape "
            f"{weights.shape}"
        )
    return _measure(model, program, points, weights)


def _measure(
    model: keras.Model, program: Program, points: Array, weights: Array
) -> dict[str, Array]:
    gradients = program.gradients(weights, points)
    found = {model.inputs[0].name: _norms(gradients[0], len(points))}
    for origin in program.origins:
        name, number = origin.name, 1
        while name in found:
            number += 1
            name = f"{origin.name} ({number})"
        found[name] = _norms(gradients[origin.output], len(points))
    return found


def _draw_directions(shape: tuple[int, ...], seed: int) -> Array:
    directions = np.random.default_rng(seed).normal(size=shape)
    norms = _norms(directions, len(directions))
    return directions / norms.reshape(-1, *[1] * (len(shape) - 1))


def _norms(batch: Array | None, num_samples: int) -> Array:
    """Returns the norm of each sample, zero for a tensor that is not used."""
    if batch is None:
        return np.zeros(num_samples)
    norms: Array = np.linalg.norm(batch.reshape(num_samples, -1), axis=1)
    return norms
