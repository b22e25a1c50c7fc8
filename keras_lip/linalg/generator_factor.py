"""Factor that keeps the Cayley transform orthogonal in float32."""

from keras import ops

from keras_lip.types import Tensor

# The largest sum of moduli of a row, and so the largest norm of a generator.
# The error of `(I + A)^{-1}` in float32 grows with the norm of `A`: up to here
# it is 1e-4 at most, and from a million on `I` is lost in the sum.
_LARGEST_SUM = 1024.0


def generator_factor(*parts: Tensor, most: Tensor | float = 1.0) -> Tensor:
    """Returns a factor that brings matrices to rows of a sum of at most 1024.

    Args:
        *parts: Tensors of shape `(..., n, n)`: a matrix, or its real and its
            imaginary part.
        most: Positive tensor or float. The factor of a matrix that stays within
            the limit with it. Defaults to 1.

    Returns:
        Tensor of shape `(..., 1, 1)`: the largest factor up to `most` such that
        no row of the product has moduli of a sum over 1024. It has no gradient.
    """
    sums = [ops.sum(ops.abs(part), axis=-1, keepdims=True) for part in parts]
    largest = ops.amax(sum(sums), axis=-2, keepdims=True)
    largest = ops.maximum(largest, _LARGEST_SUM / most)
    return ops.stop_gradient(_LARGEST_SUM / largest)
