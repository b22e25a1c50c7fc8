"""Rescaling by the largest entry, against underflow and overflow."""

from keras import ops

from keras_lip.types import Tensor


def scale_to_one(tensor: Tensor, axis: int | tuple[int, ...] | None) -> Tensor:
    """Divides by the largest absolute value along some axes.

    It goes before a computation whose result does not depend on the scale of
    its argument, but whose squares would leave the range of float32.

    Args:
        tensor: Floating-point tensor.
        axis: Integer or tuple of integers, or `None` for all axes.

    Returns:
        Tensor of the same shape. Where all values are tiny they stay as they
        are. No gradient flows through the scale.
    """
    largest = ops.max(ops.abs(tensor), axis=axis, keepdims=True)
    largest = ops.where(largest > 1e-30, largest, ops.ones_like(largest))
    return ops.divide(tensor, ops.stop_gradient(largest))
