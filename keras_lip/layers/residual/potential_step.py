"""The step of convex potential layers.

A block computes `x - h * K^T s(K x + b)` with `h = 2 / max(|K|, 0.1)^2`. For
kernels of a norm of 0.1 or more, which usual initializers give and training
keeps, this is the longest step that does not expand. Without the 0.1, smaller
kernels would move the outputs by up to `2 |s(b)| / |K|`: from `K = 0`, the
first step of an optimizer would throw them about as far as one over its
learning rate. A shorter step is non-expansive as well. So the smaller a kernel
is under 0.1, the less the block moves its inputs, and with a kernel of zero it
is the identity.
"""

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

# The largest step that may be given.
LARGEST_STEP = float(np.finfo("float32").max)

# What a norm is taken for at least. An estimated step is therefore at most 200,
# which float16 holds as well.
NORM_FLOOR = 0.1

# What no entry of a kernel that runs exceeds. The squared norm, and its square
# in a gradient, are then in the range of float32, and so is the step.
_LARGEST_ENTRY = 1e6


def running_kernel(kernel: Any) -> Tensor:
    """Returns the kernel that runs: scaled down where an entry exceeds 1e6.

    Args:
        kernel: Variable. The kernel of the operator.

    Returns:
        Tensor of the same shape. No gradient flows through the scale.
    """
    kernel = ops.convert_to_tensor(kernel)
    largest = ops.stop_gradient(ops.amax(ops.abs(kernel)))
    return kernel * (_LARGEST_ENTRY / ops.maximum(largest, _LARGEST_ENTRY))


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
        Float. At most `2 / norm_bound^2`, and at most 200.
    """
    norm = max(norm_bound, NORM_FLOOR)
    longest = divide_down(2.0, multiply_up(norm, norm))
    rounded = np.float32(longest)
    if float(rounded) > longest:
        rounded = np.nextafter(rounded, np.float32(0))
    return float(rounded)


def estimate_step(
    operator: LinearOperator, kernel: Tensor, vector: Any, training: bool
) -> Tensor:
    """Returns the step by the power method; in training, moves it on.

    Args:
        operator: The operator `K`.
        kernel: Tensor. The kernel that runs.
        vector: Variable. Where the power method starts.
        training: Boolean. Whether to take one iteration, and to leave the
            vector where it ends.

    Returns:
        Scalar tensor: `2 / max(|K|, 0.1)^2`, too long by the error of the
        estimate, and at most 200.
    """
    training = training and can_move(vector)
    norm, moved = power_iteration(
        operator,
        kernel,
        ops.convert_to_tensor(vector),
        _TRAINING_ITERATIONS if training else _INFERENCE_ITERATIONS,
    )
    if training:
        vector.assign(moved)
    return 2.0 / ops.square(ops.maximum(norm, NORM_FLOOR))
