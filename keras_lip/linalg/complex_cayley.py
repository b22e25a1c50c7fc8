"""The Cayley transform of complex matrices."""

from keras import ops

from keras_lip.linalg.complex_matrices import Complex
from keras_lip.linalg.complex_matrices import adjoint
from keras_lip.linalg.complex_matrices import multiply
from keras_lip.linalg.transpose import transpose
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


def complex_cayley(real: Tensor, imaginary: Tensor) -> tuple[Tensor, Tensor]:
    """Maps complex matrices of any proportions to unitary ones.

    The square head `U` and the tail `V` of a matrix with rows enough give
    `A = U - U^H + V^H V`, and the image stacks `(I - A) (I + A)^{-1}` over
    `-2 V (I + A)^{-1}`; it has orthonormal columns. A matrix with more columns
    than rows is mapped as its conjugate transpose, to orthonormal rows. On real
    matrices this is what `Cayley` computes.

    As by `Cayley`, `U` and `V` are scaled down where the moduli of a row of
    `U - U^H` or of `V^H V` sum to more than 1024.

    Complex numbers are pairs of tensors, as not every backend solves complex
    systems when it compiles.

    Args:
        real: Tensor of shape `(..., rows, columns)`. The real parts.
        imaginary: Tensor of the same shape. The imaginary parts.

    Returns:
        Tuple of the real and the imaginary parts of the image.

    Reference:

    - [Trockman & Kolter, 2021](https://arxiv.org/abs/2104.07167), section 3.1
      and appendix A for matrices that are not square.
    """
    rows, columns = real.shape[-2:]
    if rows < columns:
        image = complex_cayley(*adjoint((real, imaginary)))
        return adjoint(image)
    head_real = real[..., :columns, :]
    head_imaginary = imaginary[..., :columns, :]
    identity = ops.eye(columns, dtype=real.dtype)
    skew_real = head_real - transpose(head_real)
    skew_imaginary = head_imaginary + transpose(head_imaginary)
    factor = generator_factor(skew_real, skew_imaginary)
    shifted_real = identity + skew_real * factor
    shifted_imaginary = skew_imaginary * factor
    # (I - A) (I + A)^{-1} = 2 (I + A)^{-1} - I.
    if rows == columns:
        inverse = _invert(shifted_real, shifted_imaginary)
        return 2 * inverse[0] - identity, 2 * inverse[1]
    tail = (real[..., columns:, :], imaginary[..., columns:, :])
    tail, square = _square_tail(tail)
    inverse = _invert(shifted_real + square[0], shifted_imaginary + square[1])
    bottom = multiply(tail, inverse)
    return (
        ops.concatenate([2 * inverse[0] - identity, -2 * bottom[0]], axis=-2),
        ops.concatenate([2 * inverse[1], -2 * bottom[1]], axis=-2),
    )


def _square_tail(tail: Complex) -> tuple[Complex, Complex]:
    """Returns the tail `V`, scaled down where it is too large, and `V^H V`."""
    # Of a tail with entries of at most one no square overflows.
    moduli = ops.maximum(*map(ops.abs, tail))
    largest = ops.amax(moduli, axis=(-2, -1), keepdims=True)
    largest = ops.stop_gradient(ops.maximum(largest, 1.0))
    tail = (tail[0] / largest, tail[1] / largest)
    square = multiply(adjoint(tail), tail)
    factor = generator_factor(*square, most=ops.square(largest))
    root = ops.sqrt(factor)
    return (
        (tail[0] * root, tail[1] * root),
        (square[0] * factor, square[1] * factor),
    )


def _invert(real: Tensor, imaginary: Tensor) -> Complex:
    """Inverts `P + i Q` where the symmetric part of `P` is at least `I`.

    Of the real form `[[P, -Q], [Q, P]]`, block elimination inverts `P` and its
    Schur complement `S = P + Q P^{-1} Q`. The symmetric part of `P` is that of
    `P + i Q` on real vectors, and the inverse of `S` is a block of the whole
    inverse: neither is larger than one, whatever `Q`. Two real systems take
    half the time of a single one of twice the size.
    """
    ratio = ops.solve(real, imaginary)
    inverse = ops.inv(real + ops.matmul(imaginary, ratio))
    return inverse, -ops.matmul(ratio, inverse)
