"""The square root, with a finite gradient at zero."""

from keras import ops

from keras_lip.types import Tensor


def safe_sqrt(squares: Tensor) -> Tensor:
    """Returns the square roots, whose gradient at zero is zero."""
    is_zero = ops.equal(squares, 0.0)
    # Zero is kept from the root itself: 0 * inf is no gradient.
    roots = ops.sqrt(ops.where(is_zero, 1.0, squares))
    return ops.where(is_zero, 0.0, roots)
