"""The exponential of skew-symmetric matrices."""

from keras import ops

from keras_lip.types import Tensor

# Taylor's polynomial of degree 12 maps the spectrum of a skew-symmetric matrix
# of norm at most 3.379 into the unit disc (imaginary stability interval of
# Runge-Kutta methods); up to a norm of one it is within 1e-10 of the circle.
_DEGREE = 12


def skew_exponential(generator: Tensor, squarings: int) -> Tensor:
    """Computes the orthogonal exponential of a skew-symmetric matrix.

    The matrix is halved `squarings` times, exponentiated by a Taylor polynomial
    of degree 12, and squared as many times. A matrix of a larger norm than
    `2^squarings` is scaled down to that first, so that the result is
    non-expansive whatever the matrix.

    Args:
        generator: Tensor of shape `(..., n, n)`, skew-symmetric.
        squarings: Integer, at least zero.

    Returns:
        Tensor of the same shape, orthogonal but for roundings.

    Reference:

    - [Higham, 2005](https://doi.org/10.1137/04061101X), scaling and squaring
    """
    # The largest sum of a row bounds the norm of a symmetric spectrum.
    norm = ops.amax(ops.sum(ops.abs(generator), axis=-1), axis=-1)
    norm = ops.stop_gradient(norm)[..., None, None]
    generator = generator / ops.maximum(norm, 2.0**squarings)
    identity = ops.eye(generator.shape[-1], dtype=generator.dtype)
    # Horner's form: I + A (I + A/2 (I + A/3 (...))).
    result = identity + generator / _DEGREE
    for order in range(_DEGREE - 1, 0, -1):
        result = identity + ops.matmul(generator, result) / order
    for _ in range(squarings):
        result = ops.matmul(result, result)
    return result
