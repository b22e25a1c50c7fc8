"""The unitary polar factor of complex matrices."""

from keras import ops

from keras_lip.linalg.scale_to_one import scale_to_one
from keras_lip.linalg.transpose import transpose
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

    Complex numbers are pairs of tensors, in products of the real matrices
    `[[P, Q], [-Q, P]]`.

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
    top = ops.concatenate([real, imaginary], axis=-1)
    bottom = ops.concatenate([-imaginary, real], axis=-1)
    # Its size does not count, and its squares shall not overflow.
    matrix = scale_to_one(
        ops.concatenate([top, bottom], axis=-2), axis=(-2, -1)
    )
    wide = rows < columns
    if wide:
        matrix = transpose(matrix)
    gram = ops.matmul(transpose(matrix), matrix)
    sums = ops.sum(ops.abs(gram), axis=-1, keepdims=True)
    size = ops.maximum(ops.amax(sums, axis=-2, keepdims=True), 1e-30)
    identity = ops.eye(gram.shape[-1], dtype=gram.dtype)
    root, inverse = gram / size, identity
    for step in range(iterations):
        turn = 1.5 * identity - 0.5 * ops.matmul(inverse, root)
        inverse = ops.matmul(turn, inverse)
        if step < iterations - 1:
            root = ops.matmul(root, turn)
    image = ops.matmul(matrix, inverse) * ops.rsqrt(size)
    if wide:
        image = transpose(image)
    return image[..., :rows, :columns], image[..., :rows, columns:]
