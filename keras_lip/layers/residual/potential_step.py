"""The step of convex potential layers.

A block computes `x - h * K^T s(K x + b)` with `h = 2 / max(|K|, 0.1)^2`. For
kernels with a norm of at least 0.1, this is the longest non-expansive step. A
`step_fraction` in (0, 1] shortens it, by Proposition 4 of Meunier et al., 2022.
Usual initializers and training give such kernels. Without the limit 0.1, a
smaller kernel would change the outputs by up to `2 |s(b)| / |K|`: starting from
`K = 0`, the first step of an optimizer would change them by about one over its
learning rate. Shorter steps are also non-expansive. So for kernels with a norm
below 0.1, the block changes its inputs less, and with a zero kernel it is the
identity.
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
from keras_lip.validation import check_number

# Iterations of the power method: Meunier et al., 2022, section 4.1.
_TRAINING_ITERATIONS = 1
_INFERENCE_ITERATIONS = 100

# The largest allowed argument `step`.
LARGEST_STEP = float(np.finfo("float32").max)

# Lower limit of the norm. An estimated step is therefore at most 200, which
# float16 can also represent.
NORM_FLOOR = 0.1

# Upper limit of the entries of a kernel. The squared norm, its square in a
# gradient, and the step are then in the range of float32.
_LARGEST_ENTRY = 1e6


def check_steps(step: Any, step_fraction: Any) -> tuple[float | None, float]:
    """Returns the two arguments of a step, and checks them.

    Raises:
        ValueError: If `step` is not a positive float32 number or `None`,
            `step_fraction` is not in (0, 1], or both are given.
    """
    fraction = check_number("step_fraction", step_fraction, 0, 1, open_low=True)
    if step is None:
        return None, fraction
    step = check_number("step", step, 0, LARGEST_STEP, open_low=True)
    if fraction != 1:
        raise ValueError(
            "`step_fraction` shortens the step that follows from the kernel, "
            "which a given `step` replaces. Give one of them. Received: "
            f"step={step}, step_fraction={step_fraction}"
        )
    return step, fraction


def running_kernel(kernel: Any) -> Tensor:
    """Returns the kernel, scaled down if an entry exceeds 1e6.

    Args:
        kernel: Variable. The kernel of the operator.

    Returns:
        Tensor of the same shape. No gradient flows through the scale.
    """
    kernel = ops.convert_to_tensor(kernel)
    largest = ops.stop_gradient(ops.amax(ops.abs(kernel)))
    return kernel * (_LARGEST_ENTRY / ops.maximum(largest, _LARGEST_ENTRY))


def add_fixed_step(layer: keras.layers.Layer, step: float) -> Any:
    """Adds a given step as a non-trainable weight.

    Because it is a weight, each block of a `LayerStack` can have its own step.

    Args:
        layer: The layer, while it is being built.
        step: Float.

    Returns:
        Variable of shape `()`, which mixed precision does not cast.
    """
    return layer.add_weight(
        name="fixed_step",
        shape=(),
        initializer=keras.initializers.Constant(step),
        trainable=False,
        autocast=False,
        aggregation="only_first_replica",
    )


def longest_step(norm_bound: float) -> float:
    """Returns the longest float32 step that is proven to be non-expansive.

    Args:
        norm_bound: Float. An upper bound on the norm of the operator.

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
    operator: LinearOperator,
    kernel: Tensor,
    vector: Any,
    training: bool,
    step_fraction: float = 1.0,
) -> Tensor:
    """Estimates the step by the power method.

    Args:
        operator: The operator `K`.
        kernel: Tensor. The kernel of the operator.
        vector: Variable. Start vector of the power method.
        training: Boolean. Whether to run a single iteration and store its
            result in `vector`.
        step_fraction: Float in (0, 1]. Factor of the longest step.

    Returns:
        Scalar tensor: `2 * step_fraction / max(|K|, 0.1)^2`, too long by the
        error of the estimate, and at most 200.
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
    return 2.0 * step_fraction / ops.square(ops.maximum(norm, NORM_FLOOR))
