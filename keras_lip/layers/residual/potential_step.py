"""The step of convex potential layers."""

import numpy as np

from keras_lip.bounds.rounding import divide_down
from keras_lip.bounds.rounding import multiply_up

# Iterations of the power method: Meunier et al., 2022, section 4.1.
TRAINING_ITERATIONS = 1
INFERENCE_ITERATIONS = 100

LARGEST_STEP = float(np.finfo("float32").max)


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
