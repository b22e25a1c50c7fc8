"""Tensors scaled down: to a largest entry, a sum or a norm of one."""

from keras import ops

from keras_lip.types import Tensor

# What counts as zero: near the smallest normal number, under which a backend
# may flush to zero.
_TINY = 1e-37

# The least number that gradients are divided by.
_LEAST_DIVISOR = 1e-6

# Squarings of the Gram matrix. Its largest eigenvalue is then exceeded by a
# factor of `channels^(1/64)` at most, the norm by 3 % with 64 channels.
_SQUARINGS = 5

# Keeps roots and quotients differentiable where a kernel vanishes.
_LEAST_SQUARE = 1e-20

# What the roundings of float32 may take off the bound.
_SLACK = 1e-5


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


def project_l1(matrix: Tensor) -> Tensor:
    """Projects the columns of a matrix on the unit ball of the l1 norm.

    A column inside of the ball stays as it is; of any other all magnitudes
    shrink by one threshold, to zero at most, such that they sum to one. This is
    the nearest point of the ball. What rounding leaves above one is divided
    away, so that the sum exceeds one by a few roundings at most.

    Args:
        matrix: Tensor of shape `(rows, columns)`.

    Returns:
        Tensor of the same shape.

    Reference:

    - [Duchi et al., 2008](https://doi.org/10.1145/1390156.1390191), figure 1;
      its threshold is the largest of `(m_1 + ... + m_k - 1) / k` over `k`, for
      magnitudes `m` in descending order.
    """
    magnitudes = ops.abs(matrix)
    # Counted from the largest, so that nothing is lost where that is huge.
    largest = ops.amax(magnitudes, axis=0, keepdims=True)
    lowered = magnitudes - largest
    descending = ops.flip(ops.sort(lowered, axis=0), 0)
    ranks = ops.arange(1, matrix.shape[0] + 1, dtype=matrix.dtype)[:, None]
    thresholds = (ops.cumsum(descending, axis=0) - 1.0) / ranks
    threshold = ops.amax(thresholds, axis=0, keepdims=True)
    shrunk = ops.relu(lowered - threshold) * ops.sign(matrix)
    inside = ops.less_equal(ops.sum(magnitudes, axis=0, keepdims=True), 1.0)
    projected = ops.where(inside, matrix, shrunk)
    total = ops.sum(ops.abs(projected), axis=0, keepdims=True)
    return projected / ops.stop_gradient(ops.maximum(total, 1.0))


def limit_norm(kernel: Tensor, limit: float) -> Tensor:
    """Scales the kernel of a convolution down, to a norm of at most `limit`.

    With taps `F_t`, and any positive sizes `s_t`, the squared norm of the
    convolution is at most `(sum s_t) |sum F_t^T F_t / s_t|`, by the inequality
    of Cauchy and Schwarz at every frequency; the sizes are the Frobenius norms
    of the taps. The norm of that Gram matrix is at most the root of order 64 of
    the trace of its 64th power. This takes a few products of matrices of the
    size of a tap, no iteration and no state, and holds for images of any size,
    with zero padding or circular padding. For 3x3 kernels it exceeds the norm
    by a factor of 1.1, where one tap dominates, to 2, where all are random.

    Args:
        kernel: Tensor of shape `(*window, in_channels, out_channels)`.
        limit: Positive float.

    Returns:
        Tensor of the same shape: the kernel, or where its bound exceeds the
        limit the multiple whose bound is the limit.
    """
    # Of a kernel scaled to one no square leaves the range of float32.
    largest = ops.amax(ops.abs(ops.stop_gradient(kernel)))
    largest = ops.maximum(largest, 1e-30)
    kernel = kernel / largest
    return kernel * (limit / ops.maximum(_bound_norm(kernel), limit / largest))


def _bound_norm(kernel: Tensor) -> Tensor:
    *_, rows, columns = kernel.shape
    taps = ops.reshape(kernel, (-1, rows, columns))
    sizes = _frobenius_norm(taps)
    stacked = ops.reshape(taps * ops.rsqrt(sizes), (-1, columns))
    gram = ops.matmul(ops.transpose(stacked), stacked)
    norm = ops.sqrt(ops.sum(sizes) * _bound_eigenvalue(gram))
    return (1 + _SLACK) * norm


def _bound_eigenvalue(gram: Tensor) -> Tensor:
    """Bounds the eigenvalues of a positive semidefinite matrix."""
    bound, exponent = _frobenius_norm(gram), 1.0
    for _ in range(_SQUARINGS):
        gram = gram / _frobenius_norm(gram)
        gram = ops.matmul(gram, gram)
        exponent /= 2
        bound = bound * ops.power(_frobenius_norm(gram), exponent)
    return ops.reshape(bound, ())


def _frobenius_norm(matrices: Tensor) -> Tensor:
    squares = ops.sum(ops.square(matrices), axis=(-2, -1), keepdims=True)
    return ops.sqrt(squares + _LEAST_SQUARE)
