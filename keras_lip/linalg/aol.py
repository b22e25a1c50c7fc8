"""Almost-orthogonal rescaling of matrices and of kernels."""

from keras import ops

from keras_lip.linalg.kernel_phases import merge_phases
from keras_lip.linalg.kernel_phases import split_phases
from keras_lip.linalg.matrices import transpose
from keras_lip.linalg.rescaling import scale_to_one
from keras_lip.operators import pad_zeros
from keras_lip.types import Tensor


def correlation_moduli(kernel: Tensor, groups: int = 1) -> Tensor:
    """Sums the absolute autocorrelation of a kernel over its lags.

    At every frequency the absolute values of the entries of `K^H K` are at most
    these sums.

    Args:
        kernel: Tensor of shape `(*window, in_channels // groups, filters)`.
        groups: Positive integer. Number of groups of channels. Defaults to `1`.

    Returns:
        Tensor of shape `(filters // groups, filters)`. Column `j` contains the
        correlations of filter `j` with the filters of its group.
    """
    *taps, channels, filters = kernel.shape
    # Filter `i` of every group is an image that is convolved with all filters.
    images = ops.reshape(kernel, (*taps, channels, groups, filters // groups))
    images = ops.swapaxes(ops.moveaxis(images, -1, 0), -2, -1)
    images = ops.reshape(images, (filters // groups, *taps, groups * channels))
    lags = [(size - 1, size - 1) for size in taps]
    correlation = ops.conv(
        pad_zeros(images, [(0, 0), *lags, (0, 0)]),
        kernel,
        padding="valid",
        data_format="channels_last",
    )
    axes = tuple(range(1, len(taps) + 1))
    return ops.sum(ops.abs(correlation), axis=axes)


def rescale_columns(matrix: Tensor, epsilon: float = 1e-12) -> Tensor:
    """Rescales each column so that the spectral norm is at most one.

    Column `i` of the matrix `W` is divided by `sqrt(sum_j |W^T W|_ij)`. A
    matrix with orthonormal columns does not change.

    Args:
        matrix: Tensor of shape `(..., rows, columns)`.
        epsilon: Float. Keeps a zero column, and its gradient, finite. Defaults
            to `1e-12`.

    Returns:
        Tensor of the same shape, with a spectral norm of at most one.

    Reference:

    - [Prach & Lampert, 2022](https://arxiv.org/abs/2208.03160), Theorem 1.
    """
    matrix = scale_to_one(matrix, axis=(-2, -1))
    gram = ops.matmul(transpose(matrix), matrix)
    column_scale = ops.rsqrt(ops.sum(ops.abs(gram), axis=-1) + epsilon)
    return ops.multiply(matrix, ops.expand_dims(column_scale, axis=-2))


def rescale_kernel(
    kernel: Tensor, strides: tuple[int, ...], groups: int = 1
) -> Tensor:
    """Rescales channels so that a convolution has a norm of at most one.

    Let `G` be the autocorrelation of the kernel. Output channel `i` is divided
    by `sqrt(sum |G_ij|)` over all lags and all channels `j`. If there are more
    outputs than inputs, the input channels are divided instead. The norm is
    then at most one for images of any size, with zero or circular padding.
    Strides are turned into channels, so that only lags that occur are counted.

    Args:
        kernel: Tensor of shape `(*window, in_channels // groups, filters)`.
        strides: Tuple of positive integers, one for each axis of the window.
        groups: Positive integer. Number of groups of channels. Defaults to `1`.

    Returns:
        Tensor of the same shape.

    Reference:

    - [Prach & Lampert, 2022](https://arxiv.org/abs/2208.03160), Theorem 2
    """
    window = kernel.shape[:-2]
    kernel = split_phases(scale_to_one(kernel, axis=None), strides)
    *_, channels, filters = kernel.shape
    if channels == 1 and groups == 1:
        # PyTorch cannot compute the gradient of a convolution with a single
        # output, whose kernel is contiguous in two layouts. A zero channel
        # changes nothing.
        padding = [(0, 0)] * (len(kernel.shape) - 2) + [(0, 1), (0, 0)]
        swapped = _swap_channels(pad_zeros(kernel, padding), groups)
        kernel = _swap_channels(_rescale_outputs(swapped, groups), groups)
        kernel = kernel[..., :1, :]
    elif channels < filters // groups:
        swapped = _rescale_outputs(_swap_channels(kernel, groups), groups)
        kernel = _swap_channels(swapped, groups)
    else:
        kernel = _rescale_outputs(kernel, groups)
    return merge_phases(kernel, window, strides)


def _swap_channels(kernel: Tensor, groups: int) -> Tensor:
    """Swaps the inputs and outputs of every group."""
    *taps, channels, filters = kernel.shape
    kernel = ops.reshape(kernel, (*taps, channels, groups, filters // groups))
    kernel = ops.swapaxes(kernel, -3, -1)
    return ops.reshape(kernel, (*taps, filters // groups, groups * channels))


def _rescale_outputs(kernel: Tensor, groups: int) -> Tensor:
    squares = ops.sum(correlation_moduli(kernel, groups), axis=0)
    return kernel * ops.rsqrt(squares + 1e-12)
