"""Rescales tensors to a largest entry, a sum or a norm of one."""

from keras import ops

from keras_lip.types import Tensor

# Smaller values count as zero. Near the smallest normal number, below which a
# backend may flush to zero.
_TINY = 1e-37

# Gradients are divided by at least this number.
_LEAST_DIVISOR = 1e-6

# Squarings of the Gram matrix. The bound then exceeds its largest eigenvalue by
# a factor of at most `channels^(1/64)`, and the norm by 3 % for 64 channels.
_SQUARINGS = 5

# Keeps square roots and quotients differentiable for a zero kernel.
_LEAST_SQUARE = 1e-20

# Allowance for float32 rounding errors of the bound.
_SLACK = 1e-5


def scale_to_one(tensor: Tensor, axis: int | tuple[int, ...] | None) -> Tensor:
    """Divides by the largest absolute value along some axes.

    Use it before a computation that does not depend on the scale of its
    argument, but whose squares might leave the range of float32.

    Args:
        tensor: Floating-point tensor.
        axis: Integer or tuple of integers, or `None` for all axes.

    Returns:
        Tensor of the same shape. If all values are below 1e-37, they are not
        scaled. No gradient flows through the scale. The gradient is at most 1e6
        times the gradient of the result: if all values are below 1e-6, it only
        has the correct direction.
    """
    largest = ops.amax(ops.abs(tensor), axis=axis, keepdims=True)
    largest = ops.where(largest > _TINY, largest, ops.ones_like(largest))
    largest = ops.stop_gradient(largest)
    # An optimizer would square a gradient of 1e30, which overflows.
    differentiated = tensor / ops.maximum(largest, _LEAST_DIVISOR)
    rest = ops.stop_gradient(tensor / largest - differentiated)
    return differentiated + rest


def project_l1(matrix: Tensor) -> Tensor:
    """Projects the columns of a matrix onto the unit ball of the l1 norm.

    A column inside the ball does not change. For any other column, a threshold
    is subtracted from all absolute values, which are set to zero if they become
    negative, such that they sum to one. The result is the nearest point of the
    ball. If rounding makes the sum exceed one, the column is divided by it, so
    that the sum exceeds one by at most a few roundings.

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
    # Relative to the largest value, so that no accuracy is lost if it is large.
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

    Let `F_t` be the taps and `s_t` any positive numbers. By the Cauchy-Schwarz
    inequality at every frequency, the squared norm of the convolution is at
    most `(sum s_t) |sum F_t^T F_t / s_t|`. The Frobenius norms of the taps are
    used as `s_t`. The norm of this Gram matrix is at most the 64th root of the
    trace of its 64th power. The bound needs a few matrix products of the size
    of a tap, but no iteration and no state. It holds for images of any size,
    with zero or circular padding. For 3x3 kernels it exceeds the norm by a
    factor between 1.1, if one tap dominates, and 2, if all taps are random.

    Args:
        kernel: Tensor of shape `(*window, in_channels, out_channels)`.
        limit: Positive float.

    Returns:
        Tensor of the same shape: the kernel, or if its bound exceeds the limit,
        the multiple of it whose bound is the limit.
    """
    # Squares of a kernel scaled to one stay in the range of float32.
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
