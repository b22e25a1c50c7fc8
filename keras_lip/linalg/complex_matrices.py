"""Complex matrices, as pairs of tensors.

Compiled programs of some backends cannot multiply or solve with complex
numbers.
"""

from keras import ops

from keras_lip.linalg.matrices import transpose
from keras_lip.linalg.orthonormal_basis import orthonormal_basis
from keras_lip.linalg.rescaling import scale_to_one
from keras_lip.types import Tensor

# The real and the imaginary parts.
Complex = tuple[Tensor, Tensor]

# Limit of the absolute row sums, and so of the norm, of a generator. The error
# of `(I + A)^{-1}` in float32 grows with the norm of `A`: up to this limit it
# is at most 1e-4, and from a million on `I` is lost in the sum.
_LARGEST_SUM = 1024.0


def adjoint(matrix: Complex) -> Complex:
    """Returns the conjugate transpose of complex matrices."""
    real, imaginary = matrix
    return transpose(real), -transpose(imaginary)


def multiply(left: Complex, right: Complex) -> Complex:
    """Returns the product of complex matrices."""
    return (
        ops.matmul(left[0], right[0]) - ops.matmul(left[1], right[1]),
        ops.matmul(left[0], right[1]) + ops.matmul(left[1], right[0]),
    )


def generator_factor(*parts: Tensor, most: Tensor | float = 1.0) -> Tensor:
    """Returns a factor that limits absolute row sums to 1024.

    Args:
        *parts: Tensors of shape `(..., n, n)`: a real matrix, or the real and
            imaginary parts of a complex matrix.
        most: Positive tensor or float. The largest factor to return. Defaults
            to 1.

    Returns:
        Tensor of shape `(..., 1, 1)`: the largest factor up to `most` for which
        the absolute row sums of the product are at most 1024. It has no
        gradient.
    """
    sums = [ops.sum(ops.abs(part), axis=-1, keepdims=True) for part in parts]
    largest = ops.amax(sum(sums), axis=-2, keepdims=True)
    largest = ops.maximum(largest, _LARGEST_SUM / most)
    return ops.stop_gradient(_LARGEST_SUM / largest)


def complex_cayley(real: Tensor, imaginary: Tensor) -> tuple[Tensor, Tensor]:
    """Maps complex matrices of any shape to unitary matrices.

    Let `U` be the square head of a square or tall matrix, `V` its tail, and `A
    = U - U^H + V^H V`. The image stacks `(I - A) (I + A)^{-1}` on top of `-2 V
    (I + A)^{-1}`. It has orthonormal columns. A wide matrix is mapped through
    its conjugate transpose and gets orthonormal rows. For real matrices this is
    the map of `Cayley`.

    As in `Cayley`, `U` and `V` are scaled down if the absolute values in a row
    of `U - U^H` or of `V^H V` sum to more than 1024.

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
    """Returns the tail `V`, scaled down if it is too large, and `V^H V`."""
    # Squares of entries of at most one cannot overflow.
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
    """Inverts `P + i Q`, if the symmetric part of `P` is at least `I`.

    Block elimination of the real form `[[P, -Q], [Q, P]]` inverts `P` and its
    Schur complement `S = P + Q P^{-1} Q`. On real vectors, `P` and `P + i Q`
    have the same symmetric part, and the inverse of `S` is a block of the whole
    inverse. So the norms of both inverses are at most one, for any `Q`. Two
    real systems take half the time of one system of twice the size.
    """
    ratio = ops.solve(real, imaginary)
    inverse = ops.inv(real + ops.matmul(imaginary, ratio))
    return inverse, -ops.matmul(ratio, inverse)


def complex_polar(
    real: Tensor, imaginary: Tensor, iterations: int
) -> tuple[Tensor, Tensor]:
    """Divides complex matrices by the square root of their Gram matrix.

    A square or tall matrix `V` becomes `V (V^H V)^(-1/2)`, with orthonormal
    columns, and a wide matrix becomes `(V V^H)^(-1/2) V`, with orthonormal
    rows. The coupled Newton-Schulz iteration computes the root:

        T = (3 I - Z Y) / 2,   Y <- Y T,   Z <- T Z

    starting from `Y = V^H V / s` and `Z = I`, where `s` is the largest absolute
    row sum of `V^H V`, which is at least its norm. A singular value whose
    square is `s p` becomes `sqrt(p)`, and each step maps `p` to `p (3 - p)^2 /
    4`. It increases towards one, but zero stays zero.

    Args:
        real: Tensor of shape `(..., rows, columns)`. The real parts.
        imaginary: Tensor of the same shape. The imaginary parts.
        iterations: Positive integer. Number of steps.

    Returns:
        Tuple of the real and the imaginary parts of the image.

    Reference:

    - [Xu et al., 2022](https://arxiv.org/abs/2210.11620), section 4.1
    - [Higham, 2008](https://doi.org/10.1137/1.9780898717778), equation 6.35,
      for the iteration
    """
    rows, columns = real.shape[-2:]
    if rows < columns:
        image = complex_polar(*adjoint((real, imaginary)), iterations)
        return adjoint(image)
    # The result does not depend on the scale. Rescale so that squares do not
    # overflow.
    both = scale_to_one(ops.stack([real, imaginary]), axis=(0, -2, -1))
    matrix = both[0], both[1]
    gram = multiply(adjoint(matrix), matrix)
    sums = ops.sum(ops.abs(gram[0]) + ops.abs(gram[1]), axis=-1, keepdims=True)
    # The largest entry of the matrix is one, so the largest row sum is at least
    # one, unless all entries are zero.
    size = ops.maximum(ops.amax(sums, axis=-2, keepdims=True), 0.5)
    root = gram[0] / size, gram[1] / size
    diagonal = ops.eye(columns, dtype=real.dtype)
    turn = _turn(root, diagonal)
    inverse = turn
    for _ in range(iterations - 1):
        root = multiply(root, turn)
        turn = _turn(multiply(inverse, root), diagonal)
        inverse = multiply(turn, inverse)
    image = multiply(matrix, inverse)
    factor = ops.rsqrt(size)
    return image[0] * factor, image[1] * factor


def complex_reflector(
    real: Tensor, imaginary: Tensor, rows: int, columns: int
) -> tuple[Tensor, Tensor]:
    """Computes the reflectors of the column spaces of complex matrices.

    With an orthonormal basis `Q` of the column space, the result consists of
    the first rows and columns of `I - 2 Q Q^H`, which is unitary and Hermitian.

    The columns of the real form `[[P, -S], [S, P]]` of a matrix span the real
    form of its column space. An orthonormal real basis `B` of them gives the
    projector `B B^T` onto this space. If the columns are linearly dependent,
    rounding can produce a projector that is not of this form. The nearest
    matrix of this form is the mean of two matrices of the same norm, so its
    norm is not larger.

    Args:
        real: Tensor of shape `(..., size, rank)`. The real parts.
        imaginary: Tensor of the same shape. The imaginary parts.
        rows: Integer. Number of rows of the result, at most `size`.
        columns: Integer. Number of columns of the result, at most `size`.

    Returns:
        Tuple of the real and the imaginary parts of the result.

    Reference:

    - [Lai et al., 2025](https://arxiv.org/abs/2505.15174), on convolutions
    """
    top = ops.concatenate([real, -imaginary], axis=-1)
    bottom = ops.concatenate([imaginary, real], axis=-1)
    size = real.shape[-2]
    basis = orthonormal_basis(ops.concatenate([top, bottom], axis=-2))
    upper, lower = basis[..., :size, :], basis[..., size:, :]
    sides = ops.concatenate([upper, lower], axis=-1)
    turned = ops.concatenate([lower, -upper], axis=-1)
    across = transpose(sides[..., :columns, :])
    identity = ops.eye(rows, columns, dtype=real.dtype)
    return (
        identity - ops.matmul(sides[..., :rows, :], across),
        -ops.matmul(turned[..., :rows, :], across),
    )


def _turn(product: Complex, diagonal: Tensor) -> Complex:
    """Returns `(3 I - Z Y) / 2`."""
    return 1.5 * diagonal - 0.5 * product[0], -0.5 * product[1]
