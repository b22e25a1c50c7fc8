"""Proven upper bound on the norm of a convolution, for any image size."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_lip.proofs.frequency_cell_bound import frequency_cell_bound
from keras_lip.proofs.frequency_grid_bound import frequency_grid_bound
from keras_lip.proofs.frequency_grid_bound import num_grid_points
from keras_lip.proofs.image_frequencies import ImageFrequencies
from keras_lip.proofs.kernel_gram_bound import kernel_gram_bound
from keras_lip.proofs.matrix_norms import spectral_norm_bound
from keras_lip.proofs.method_notes import note_method
from keras_lip.proofs.rounding import UNDERFLOW
from keras_lip.proofs.rounding import add_up
from keras_lip.proofs.rounding import hypot_up
from keras_lip.proofs.rounding import inflate_up
from keras_lip.proofs.rounding import multiply_down
from keras_lip.proofs.rounding import multiply_up
from keras_lip.proofs.rounding import scale_to_unit
from keras_lip.proofs.rounding import sqrt_down
from keras_lip.proofs.rounding import sqrt_up


def tap_norm_bound(kernel: npt.ArrayLike) -> float:
    """Computes a fast upper bound on the l2 operator norm of a convolution.

    With taps `F_t` and any positive `q_t`, the norm is at most `sqrt(sum q_t^2)
    |stack(F_t / q_t)|`, by the Cauchy-Schwarz inequality at every frequency.
    `limit_norm` uses the same bound to limit a kernel. For 3x3 kernels, the
    bound is up to twice the bound of `convolution_norm_bound`, but it takes
    milliseconds instead of seconds.

    Args:
        kernel: Real array of shape `(*window, in_channels, out_channels)`, of a
            convolution without strides and without groups.

    Returns:
        Float. The bound, `inf` if an entry of the kernel is not finite.
    """
    kernel = np.asarray(kernel, dtype=np.float64)
    if not np.all(np.isfinite(kernel)):
        return math.inf
    taps = kernel.reshape(-1, *kernel.shape[-2:])
    # In two steps, so that the squares stay in the range of floats.
    largest = np.max(np.abs(taps), axis=(1, 2), keepdims=True)
    taps, largest = taps[largest[:, 0, 0] > 0], largest[largest > 0]
    largest = largest[:, None, None]
    norms = largest * np.linalg.norm(taps / largest, axis=(1, 2), keepdims=True)
    sizes = np.sqrt(norms)
    columns = kernel.shape[-1]
    stacked = (taps / sizes).reshape(-1, columns)
    # A quotient has a relative error of at most 2**-53. So all quotients
    # together have an error of at most `sqrt(columns) * 2**-53` times their
    # norm. The error of quotients that underflow is less than `UNDERFLOW`.
    norm = inflate_up(spectral_norm_bound(stacked), columns)
    return multiply_up(hypot_up(*sizes.ravel()), add_up(norm, UNDERFLOW))


# Targeted relative excess over the norm on an infinite image.
_SLACK = 1e-3


def convolution_norm_bound(
    kernel: npt.ArrayLike,
    strides: int | Sequence[int] = 1,
    groups: int = 1,
    frequencies: ImageFrequencies | None = None,
) -> float:
    """Computes an upper bound on the l2 operator norm of a convolution.

    The bound is proven for the given numbers, including all rounding errors.
    Without `frequencies` it holds for zero padding of any kind ("same",
    "valid", "full", "causal") and for circular padding, for any image size, for
    the transposed convolution, and for any dilation of a convolution without
    strides. Two cases need care:

    - circular padding with strides: the image size must be a multiple of the
      strides. Otherwise, bound the convolution without strides;
    - dilation with strides: pass `strides // gcd(strides, dilation)`.

    It exceeds the norm on a large image by a relative error of about 1e-6 if
    the kernel is close to orthogonal, and of about 1e-3 otherwise. With
    `frequencies` it exceeds the norm on a circular image by about 1e-6, and is
    closer to the norm on a small image with zero padding, by up to a few
    percent a layer.

    Args:
        kernel: Real array of shape `(*window, in_channels // groups,
            out_channels)`, as in Keras, with one or more axes in the window.
        strides: Positive integer, or one for each axis of the window.
        groups: Positive integer. Number of groups of channels.
        frequencies: `ImageFrequencies` of this convolution without dilation.
            The bound then holds for images of this size. Defaults to `None`,
            for images of any size.

    Returns:
        Float. The bound, `inf` if an entry of the kernel is not finite.

    Example:

    >>> kernel = np.array([1.0, 0.0, -1.0]).reshape(3, 1, 1)
    >>> 2.0 <= convolution_norm_bound(kernel) < 2.002
    True
    """
    kernel = np.asarray(kernel)
    if kernel.ndim < 3 or np.iscomplexobj(kernel):
        raise ValueError(
            "`kernel` must be real, of shape `(*window, in_channels // groups, "
            f"out_channels)`. Received: kernel.shape={kernel.shape}, "
            f"kernel.dtype={kernel.dtype}"
        )
    kernel = kernel.astype(np.float64)
    kernel = _split_phases(_split_groups(kernel, groups), strides)
    if not np.all(np.isfinite(kernel)):
        return math.inf
    if not np.any(kernel):
        return 0.0
    # The convolution with zero padding is a crop of the convolution on an
    # infinite image. With circular padding it samples the frequencies of the
    # latter. So both norms are at most the norm on an infinite image, which is
    # the largest norm of `K(w)` over all frequencies `w`.
    if math.prod(kernel.shape[1:-2]) == 1:
        return spectral_norm_bound(kernel)
    kernel, scale = scale_to_unit(kernel)
    if kernel.shape[-2] < kernel.shape[-1]:
        kernel = np.swapaxes(kernel, -2, -1)
    return multiply_up(scale, sqrt_up(_bound_squared_norm(kernel, frequencies)))


def convolution_contraction_bound(
    kernel: npt.ArrayLike,
    strides: int | Sequence[int] = 1,
    groups: int = 1,
) -> float:
    """Computes a lower bound on `|K * x| / |x|` for images `x` of any size.

    The bound holds for circular padding whose output has one pixel for each
    stride, if the strides divide the sides of the image, and for "full" zero
    padding without strides. It does not hold for other zero padding, which
    crops the border. It is tight if the kernel is close to orthogonal, and
    often zero otherwise.

    Args:
        kernel: As in `convolution_norm_bound`.
        strides: Positive integer, or one for each axis of the window.
        groups: Positive integer. Number of groups of channels.

    Returns:
        Float, at least zero. Zero if nothing is known.
    """
    kernel = np.asarray(kernel).astype(np.float64)
    kernel = _split_phases(_split_groups(kernel, groups), strides)
    rows, columns = kernel.shape[-2:]
    if rows > columns or not np.all(np.isfinite(kernel)) or not np.any(kernel):
        return 0.0
    kernel, scale = scale_to_unit(kernel)
    # The squared singular values at all frequencies, also those that a small
    # image does not have.
    lower, _ = kernel_gram_bound(np.swapaxes(kernel, -2, -1))
    return max(0.0, multiply_down(scale, sqrt_down(lower)))


def _bound_squared_norm(
    kernel: npt.NDArray[Any], frequencies: ImageFrequencies | None
) -> float:
    lower, upper = kernel_gram_bound(kernel)
    # Frequencies can improve the bound by at most the gap between the two.
    spread = 1 - lower / upper
    if spread <= 2 * _SLACK:
        note_method("kernel Gram")
        return upper
    if frequencies is not None:
        return min(upper, frequencies.bound(kernel))
    if sum(size > 1 for size in kernel.shape[1:-2]) <= 2:
        return min(upper, frequency_cell_bound(kernel, lower, _SLACK / spread))
    points = num_grid_points(kernel.shape[1:-2], _SLACK / spread)
    note_method(f"frequency grid of {points}")
    return min(upper, frequency_grid_bound(kernel, lower, points))


def _split_groups(kernel: npt.NDArray[Any], groups: int) -> npt.NDArray[Any]:
    """Moves the groups to the first axis. The largest norm counts."""
    *window, channels, filters = kernel.shape
    if groups < 1 or filters % groups:
        raise ValueError(
            "`groups` must be a positive integer that divides the number of "
            f"filters. Received: groups={groups}, kernel.shape={kernel.shape}"
        )
    kernel = kernel.reshape(*window, channels, groups, filters // groups)
    return np.moveaxis(kernel, -2, 0)


def _split_phases(
    kernel: npt.NDArray[Any], strides: int | Sequence[int]
) -> npt.NDArray[Any]:
    """Rewrites strides as channels.

    With stride `s`, tap `s * q + r` only reads the pixels of phase `r`. It is
    tap `q` of a convolution without strides on an image whose channels are the
    phases. This image is a permutation of the original pixels.
    """
    groups, *window, channels, filters = kernel.shape
    if isinstance(strides, int):
        strides = [strides] * len(window)
    if len(strides) != len(window) or min(strides) < 1:
        raise ValueError(
            "`strides` must be a positive integer, or one for each of the "
            f"{len(window)} axes of the window. Received: strides={strides}"
        )
    padding = [(0, -size % s) for size, s in zip(window, strides, strict=True)]
    kernel = np.pad(kernel, [(0, 0), *padding, (0, 0), (0, 0)])
    taps = [-(-size // s) for size, s in zip(window, strides, strict=True)]
    split = [n for pair in zip(taps, strides, strict=True) for n in pair]
    kernel = kernel.reshape(groups, *split, channels, filters)
    axes = range(1, 1 + 2 * len(window), 2)
    kernel = np.moveaxis(kernel, list(axes), range(1, 1 + len(window)))
    return kernel.reshape(groups, *taps, math.prod(strides) * channels, filters)
