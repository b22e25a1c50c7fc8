"""Rescaling by the largest entry, against underflow and overflow."""

from keras import ops

from keras_lip.types import Tensor

# What counts as zero: near the smallest normal number, under which a backend
# may flush to zero.
_TINY = 1e-37

# The least number that gradients are divided by.
_LEAST_DIVISOR = 1e-6


def scale_to_one(tensor: Tensor, axis: int | tuple[int, ...] | None) -> Tensor:
    """Divides by the largest absolute value along some axes.

    It goes before a computation whose result does not depend on the scale of
    its argument, but whose squares would leave the range of float32.

    Args:
        tensor: Floating-point tensor.
        axis: Integer or tuple of integers, or `None` for all axes.

    Returns:
        Tensor of the same shape. Where all values are below 1e-37 they stay as
        they are. No gradient flows through the scale, and the gradient is at
        most 1e6 times that of the result: where all values are below 1e-6 it
        has its direction alone.
    """
    largest = ops.amax(ops.abs(tensor), axis=axis, keepdims=True)
    largest = ops.where(largest > _TINY, largest, ops.ones_like(largest))
    largest = ops.stop_gradient(largest)
    # A gradient of 1e30 would be squared by an optimizer, to infinity.
    differentiated = tensor / ops.maximum(largest, _LEAST_DIVISOR)
    rest = ops.stop_gradient(tensor / largest - differentiated)
    return differentiated + rest
