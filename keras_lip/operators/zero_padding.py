"""Padding with zeros.

This is one of the few files that branch on the backend.
"""

from collections.abc import Sequence

from keras import ops

from keras_lip.traces import is_compiling
from keras_lip.types import Tensor


def pad_zeros(tensor: Tensor, widths: Sequence[Sequence[int]]) -> Tensor:
    """Computes `keras.ops.pad`, in one graph with what follows.

    Keras makes an operation, with a name that is new, of every call of
    `keras.ops.pad`. PyTorch's compiler follows that, but cuts its graph at the
    call of the next layer.

    Args:
        tensor: Tensor.
        widths: Pairs, one for each axis: how many zeros to add before and
            after.

    Returns:
        Tensor of the padded shape.
    """
    if not is_compiling():
        return ops.pad(tensor, widths)
    import torch

    # The last axis comes first.
    flat = [width for pair in reversed(widths) for width in pair]
    return torch.nn.functional.pad(tensor, flat)
