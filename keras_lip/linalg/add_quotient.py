"""A sum that reuses memory on backends that allow it.

This is one of the few files that branch on the backend.
"""

from keras_lip.traces import is_eager_torch
from keras_lip.types import Tensor


def add_quotient(inputs: Tensor, powers: Tensor, divisor: int) -> Tensor:
    """Computes `inputs + powers / divisor`, and may overwrite `powers`.

    Compilers compute such a sum in one pass. Eager PyTorch would allocate two
    more tensors. On CPUs a large new tensor costs about as much as half a
    convolution, because the system provides its memory page by page. If no
    gradient is needed, the result overwrites `powers`, with the same rounding.

    Args:
        inputs: Tensor.
        powers: Tensor of the same shape and dtype. Nothing else may use it
            afterwards.
        divisor: Positive integer.
    """
    is_lost = is_eager_torch(powers) and not powers.requires_grad
    if not is_lost or powers.dtype != inputs.dtype:
        return inputs + powers / divisor
    if divisor > 1:
        powers = powers.div_(divisor)
    return powers.add_(inputs)
