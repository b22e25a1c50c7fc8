"""How the outputs of a convolution correlate, summed over all lags."""

from keras import ops

from keras_lip.operators import pad_zeros
from keras_lip.types import Tensor


def correlation_moduli(kernel: Tensor, groups: int = 1) -> Tensor:
    """Sums the moduli of the autocorrelation of a kernel over its lags.

    At every frequency the entries of `K^H K` are at most these, in modulus.

    Args:
        kernel: Tensor of shape `(*window, in_channels // groups, filters)`.
        groups: Positive integer. Number of groups of channels. Defaults to `1`.

    Returns:
        Tensor of shape `(filters // groups, filters)`. Column `j` holds the
        correlations of filter `j` with the filters of its group.
    """
    *taps, channels, filters = kernel.shape
    # Filter `i` of every group as an image, to convolve with all filters.
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
