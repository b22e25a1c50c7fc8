"""The unitary polar factor of complex matrices."""

from keras import ops

from keras_lip.linalg.complex_matrices import Complex
from keras_lip.linalg.complex_matrices import adjoint
from keras_lip.linalg.complex_matrices import multiply
from keras_lip.linalg.scale_to_one import scale_to_one
from keras_lip.types import Tensor


def complex_polar(
    real: Tensor, imaginary: Tensor, iterations: int
) -> tuple[Tensor, Tensor]:
    """Divides complex matrices by the inverse root of their Gram matrix.

    A matrix `V` with rows enough becomes `V (V^H V)^(-1/2)`, with orthonormal
    columns, and one with more columns `(V V^H)^(-1/2) V`, with orthonormal
    rows. The root is computed by the coupled Newton-Schulz iteration

        T = (3 I - Z Y) / 2,   Y <- Y T,   Z <- T Z

    from `Y = V^H V / s` and `Z = I`, with `s` the largest row sum of `V^H V`,
    which is at least its norm. A singular value whose square is `s p` becomes
    the root of `p`, with `p <- p (3 - p)^2 / 4` at each step: it grows towards
    one from below, and stays zero if it is zero.

    Complex numbers are pairs of tensors, as in `complex_matrices`.

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
    # Its size does not count, and its squares shall not overflow.
    both = scale_to_one(ops.stack([real, imaginary]), axis=(0, -2, -1))
    matrix = both[0], both[1]
    gram = multiply(adjoint(matrix), matrix)
    sums = ops.sum(ops.abs(gram[0]) + ops.abs(gram[1]), axis=-1, keepdims=True)
    # The largest entry of the matrix is one, and a row sum at least as large,
    # unless all are zero.
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


def _turn(product: Complex, diagonal: Tensor) -> Complex:
    """Returns `(3 I - Z Y) / 2`."""
    return 1.5 * diagonal - 0.5 * product[0], -0.5 * product[1]
