"""Lower estimates of Lipschitz constants of models."""

import math
from typing import Any

import keras
import numpy as np

from keras_lip.bounds.largest_stretch import largest_stretch
from keras_lip.graph import check_model
from keras_lip.live_model import LiveModel
from keras_lip.types import Array
from keras_lip.validation import check_positive_integer

# Maximal number of outputs for which the whole Jacobian is computed, row by
# row.
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
    """Returns a lower estimate of a model's Lipschitz constant.

    For every given input, two methods are used: the spectral norm of the
    Jacobian (for models with at most 64 outputs), and a search by gradient
    ascent for a pair of inputs whose outputs are far apart. The largest value
    is returned. The estimate proves nothing about robustness. It shows how
    tight `keras_lip.bounds.lipschitz_bound` is, and a claimed bound that is
    smaller must be false.

    Args:
        model: A model with one input and one output, run at inference.
        inputs: Array of shape `(num_samples, *input_shape)`. Starting points of
            the search.
        steps: Positive integer. Number of ascent steps of the search. Defaults
            to `20`.
        seed: Integer. Seed of the first search directions. Defaults to `0`.

    Returns:
        Float. A lower estimate in the l2 norm, up to rounding errors (about
        1e-6 relative in float32).

    Raises:
        TypeError: If `model` is not a `keras.Model`.
        ValueError: If the model has several outputs, `steps` is not positive,
            or `inputs` is empty or not finite.

    Reference:

    - [Latorre et al., 2020](https://arxiv.org/abs/2004.08688) on how such
      estimates compare with upper bounds.
    """
    check_model(model, needs_build=False)
    graph_outputs = keras.tree.flatten(getattr(model, "outputs", None))
    if len(graph_outputs) > 1:
        raise ValueError(
            f"Model '{model.name}' must have one output. Make a model with one "
            "output: `keras.Model(model.inputs, model.outputs[0])`. Received: "
            f"{len(graph_outputs)} outputs"
        )
    steps = check_positive_integer("steps", steps)
    points = np.asarray(inputs)
    if len(points) == 0 or not np.isfinite(points).all():
        raise ValueError(
            "`inputs` must contain at least one sample and only finite "
            f"numbers. Received: an array of shape {points.shape}"
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
