"""Lower estimates of Lipschitz constants of models."""

import math
from typing import Any

import keras
import numpy as np

from keras_lip.bounds.jacobian_singular_values import check_points
from keras_lip.bounds.jacobian_singular_values import compute_jacobians
from keras_lip.bounds.largest_stretch import largest_stretch
from keras_lip.live_model import LiveModel
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
    steps = check_positive_integer("steps", steps)
    points = check_points(model, inputs)
    live = LiveModel(model)
    shape = np.shape(points)
    directions = np.random.default_rng(seed).normal(size=shape)
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
        values = np.linalg.svd(
            compute_jacobians(live, points), compute_uv=False
        )
        best = max(best, float(values.max()))
    return best
