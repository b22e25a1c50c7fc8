"""A sum that reuses memory, where the backend can.

This is one of the few files that branch on the backend.
"""

from keras_lip.traces import is_eager_torch
from keras_lip.types import Tensor


def add_quotient(inputs: Tensor, powers: Tensor, divisor: int) -> Tensor:
    """Computes `inputs + powers / divisor`, and may destroy `powers`.

    Compilers write such a sum in one pass. PyTorch without its compiler would
    write two more tensors, and on CPUs a large new tensor costs about as much
    as half a convolution: its memory comes from the system page by page. Where
    no gradient is asked for, it is written over `powers`, with the same
    roundings.

    Args:
        inputs: Tensor.
        powers: Tensor of the same shape and dtype, which nothing else reads.
        divisor: Positive integer.
    """
    is_lost = is_eager_torch(powers) and not powers.requires_grad
    if not is_lost or powers.dtype != inputs.dtype:
        return inputs + powers / divisor
    if divisor > 1:
        powers = powers.div_(divisor)
    return powers.add_(inputs)
