"""The step of convex potential layers."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lip.linalg import power_iteration
from keras_lip.operators import LinearOperator
from keras_lip.proofs.rounding import divide_down
from keras_lip.proofs.rounding import multiply_up
from keras_lip.traces import can_move
from keras_lip.types import Tensor

# Iterations of the power method: Meunier et al., 2022, section 4.1.
_TRAINING_ITERATIONS = 1
_INFERENCE_ITERATIONS = 100

LARGEST_STEP = float(np.finfo("float32").max)


def add_fixed_step(layer: keras.layers.Layer, step: float) -> Any:
    """Adds a step that is given, as a weight that is not trained.

    As a weight the blocks of a `LayerStack` may each have their own.

    Args:
        layer: The layer, while it is being built.
        step: Float.

    Returns:
        Variable of shape `()`, which mixed precision leaves as it is.
    """
    return layer.add_weight(
        name="fixed_step",
        shape=(),
        initializer=keras.initializers.Constant(step),
        trainable=False,
        autocast=False,
    )


def longest_step(norm_bound: float) -> float:
    """Returns the longest float32 step that is proven to be non-expansive.

    Args:
        norm_bound: Float. A bound from above on the norm of the operator.

    Returns:
        Float. At most `2 / norm_bound^2`.
    """
    longest = divide_down(2.0, multiply_up(norm_bound, norm_bound))
    rounded = np.float32(min(longest, LARGEST_STEP))
    if float(rounded) > longest:
        rounded = np.nextafter(rounded, np.float32(0))
    return float(rounded)


def estimate_step(
    operator: LinearOperator, kernel: Any, vector: Any, training: bool
) -> Tensor:
    """Returns `2 / |K|^2` by the power method; in training, moves it on.

    Args:
        operator: The operator `K`.
        kernel: Variable. The kernel of the operator.
        vector: Variable. Where the power method starts.
        training: Boolean. Whether to take one iteration, and to leave the
            vector where it ends.

    Returns:
        Scalar tensor, too long by the error of the estimate.
    """
    training = training and can_move(vector)
    norm, moved = power_iteration(
        operator,
        ops.convert_to_tensor(kernel),
        ops.convert_to_tensor(vector),
        _TRAINING_ITERATIONS if training else _INFERENCE_ITERATIONS,
    )
    if training:
        vector.assign(moved)
    # A kernel that vanishes has no direction to go; any step will do.
    return 2.0 / ops.maximum(ops.square(norm), 1e-12)
