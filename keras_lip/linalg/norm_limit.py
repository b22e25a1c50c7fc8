"""Convolutions scaled down to a norm, by a bound rather than an estimate."""

from keras import ops

from keras_lip.types import Tensor

# Squarings of the Gram matrix. Its largest eigenvalue is then exceeded by a
# factor of `channels^(1/64)` at most, the norm by 3 % with 64 channels.
_SQUARINGS = 5

# Keeps roots and quotients differentiable where a kernel vanishes.
_TINY = 1e-20

# What the roundings of float32 may take off the bound.
_SLACK = 1e-5


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
    return ops.sqrt(squares + _TINY)
