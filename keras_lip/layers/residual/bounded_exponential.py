"""A positive parametrization that neither overflows nor vanishes."""

from keras import ops

from keras_lip.types import Tensor

# Quotients of two images stay below `exp(20)`, squares within float32.
_LIMIT = 10.0


def bounded_exponential(logarithm: Tensor) -> Tensor:
    """Computes `exp(10 * d / (10 + |d|))`, between `exp(-10)` and `exp(10)`.

    It is positive for every `d`, so that no constant has to be added, and its
    gradient decays slowly where an exponential would overflow.

    Args:
        logarithm: Floating-point tensor, the `d`.

    Returns:
        Tensor of the same shape.
    """
    return ops.exp(_LIMIT * ops.softsign(logarithm / _LIMIT))
