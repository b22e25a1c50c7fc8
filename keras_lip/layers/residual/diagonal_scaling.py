"""Trainable positive diagonals, and the kernels that they scale."""

from collections.abc import Callable

from keras import ops

from keras_lip.layers.residual.potential_step import NORM_FLOOR
from keras_lip.types import Tensor

# Quotients of two values stay below `exp(20)`, and their squares within
# float32.
_LIMIT = 10.0

# Added to `t` of a kernel scaled to one. A larger `t` shortens the step, which
# is safe. Adding it only to `q` would not be safe.
_EPSILON = 1e-12


def bounded_exponential(logarithm: Tensor) -> Tensor:
    """Computes `exp(10 * d / (10 + |d|))`, between `exp(-10)` and `exp(10)`.

    It is positive for every `d`, so no constant has to be added. Its gradient
    decays slowly for values where an exponential would overflow.

    Args:
        logarithm: Floating-point tensor, the `d`.

    Returns:
        Tensor of the same shape.
    """
    return ops.exp(_LIMIT * ops.softsign(logarithm / _LIMIT))


def sll_step_kernel(
    kernel: Tensor, log_scale: Tensor, correlate: Callable[[Tensor], Tensor]
) -> Tensor:
    """Returns `2 W T^{-1}`, for the kernel `W` and its diagonal `T`.

    Entries of `T` are at least 0.01, so steps are at most 200, for the same
    reason as in a convex potential layer.

    `T` is computed from `V = W / m`, where `m` is the largest entry of `W`, but
    at least 0.1. The squares of `V` stay in the range of float32 even if those
    of `W` do not.

    Args:
        kernel: Tensor `W`, with one hidden unit or channel for each index of
            its last axis.
        log_scale: Tensor of shape `(hidden,)`, the logarithm of `q`.
        correlate: Function of `V` that returns the absolute correlations of its
            hidden units, a symmetric tensor of shape `(hidden, hidden)`.

    Returns:
        Tensor of the same shape as `kernel`.
    """
    largest = ops.stop_gradient(ops.amax(ops.abs(kernel)))
    scale = ops.maximum(largest, NORM_FLOOR)
    kernel = kernel / scale
    q = bounded_exponential(log_scale)
    t = ops.matmul(correlate(kernel), q[:, None])[:, 0] / q
    t = ops.maximum(t, ops.square(NORM_FLOOR / scale))
    return kernel * (2.0 / (t + _EPSILON) / scale)
