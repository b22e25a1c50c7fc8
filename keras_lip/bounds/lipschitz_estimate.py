"""Estimates, from below, of Lipschitz constants of models."""

import math
from typing import Any

import keras
import numpy as np

from keras_lip.bounds.largest_stretch import largest_stretch
from keras_lip.graph import check_model
from keras_lip.live_model import LiveModel
from keras_lip.types import Array
from keras_lip.validation import check_positive_integer

# Up to this many outputs the whole Jacobian is computed, one row at a time.
_MAX_JACOBIAN_ROWS = 64

# Keras multiplies float64 matrices in float32, except on TensorFlow.
_EPSILONS = {
    "bfloat16": 2.0**-7,
    "float16": 2.0**-10,
    "float32": 2.0**-23,
    "float64": 2.0**-23,
}


def lipschitz_estimate(
    model: keras.Model, inputs: Any, steps: int = 20, seed: int = 0
) -> float:
    """Estimates a model's Lipschitz constant from below.

    Two ways are tried from every given input: the spectral norm of the Jacobian
    (of models with at most 64 outputs), and a search for a pair of inputs that
    the model drives far apart, by gradient ascent. The largest value found is
    returned. It proves nothing about robustness; it shows how much of
    `keras_lip.bounds.lipschitz_bound` is attained, and that a claimed bound is
    false if it lies below.

    Args:
        model: A model with one input and one output, run at inference.
        inputs: Array of shape `(num_samples, *input_shape)`. Where to look.
        steps: Positive integer. Number of ascent steps of the search. Defaults
            to `20`.
        seed: Integer. Seed of the first search directions. Defaults to `0`.

    Returns:
        Float. An estimate, in the l2 norm, that exceeds the true constant by
        rounding errors only (about 1e-6 of it in float32).

    Raises:
        TypeError: If `model` is not a `keras.Model`.
        ValueError: If it has several outputs, if `steps` is not
            positive, or if `inputs` holds no sample or something else than
            finite numbers.

    Reference:

    - [Latorre et al., 2020](https://arxiv.org/abs/2004.08688) on how such
      estimates compare with upper bounds.
    """
    check_model(model, needs_build=False)
    graph_outputs = keras.tree.flatten(getattr(model, "outputs", None))
    if len(graph_outputs) > 1:
        raise ValueError(
            f"Model '{model.name}' must have one output. Make a model of one: "
            "`keras.Model(model.inputs, model.outputs[0])`. Received: "
            f"{len(graph_outputs)} outputs"
        )
    steps = check_positive_integer("steps", steps)
    points = np.asarray(inputs)
    if len(points) == 0 or not np.isfinite(points).all():
        raise ValueError(
            "`inputs` must hold at least one sample and only finite numbers. "
            f"Received: an array of shape {points.shape}"
        )
    live = LiveModel(model)
    directions = np.random.default_rng(seed).normal(size=points.shape)
    best = max(
        largest_stretch(
            live,
            live.pull_back,
            points,
            directions,
            length,
            steps,
            dtype="float32",
            epsilon=_EPSILONS[live.dtype],
        )
        for length in (1e-1, 1e1)
    )
    num_outputs = math.prod(live(points[:1]).shape[1:])
    if num_outputs <= _MAX_JACOBIAN_ROWS:
        best = max(best, _jacobian_norm(live, points, num_outputs))
    return best


def _jacobian_norm(live: LiveModel, x: Array, num_outputs: int) -> float:
    shape = live(x).shape
    rows = []
    for index in range(num_outputs):
        weights = np.zeros((len(x), num_outputs))
        weights[:, index] = 1.0
        rows.append(
            live.pull_back(x, weights.reshape(shape)).reshape(len(x), -1)
        )
    singular_values = np.linalg.svd(np.stack(rows, axis=1), compute_uv=False)
    return float(singular_values.max())
