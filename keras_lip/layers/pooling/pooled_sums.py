"""Sums and square roots used by pooling layers."""

import keras
from keras import ops

from keras_lip.types import Tensor


def safe_sqrt(squares: Tensor) -> Tensor:
    """Returns square roots, with a gradient of zero at zero."""
    is_zero = ops.equal(squares, 0.0)
    # Zeros are replaced before the square root, to avoid the gradient 0 * inf.
    roots = ops.sqrt(ops.where(is_zero, 1.0, squares))
    return ops.where(is_zero, 0.0, roots)


def upcast(inputs: Tensor) -> Tensor:
    """Casts inputs in 16 bits to float32.

    In float16, the square of 256 overflows.
    """
    dtype = keras.backend.standardize_dtype(inputs.dtype)
    half = dtype in ("float16", "bfloat16")
    return ops.cast(inputs, "float32") if half else inputs


def sum_windows(
    images: Tensor,
    axes: tuple[int, ...],
    pool_size: tuple[int, ...],
    strides: tuple[int, ...],
) -> Tensor:
    """Sums over windows inside the images.

    It uses slices, because TensorFlow's pooling does not support
    `"channels_first"` on CPUs.

    Args:
        images: Tensor.
        axes: Axes of the rows and of the columns.
        pool_size: Sides of a window.
        strides: Strides of the windows.

    Returns:
        A tensor with one entry for each window.
    """
    for axis, size, stride in zip(axes, pool_size, strides, strict=True):
        before = (slice(None),) * axis
        # The last window ends at the end of the image, or less than a stride
        # before it.
        slices = [
            images[(*before, slice(i, (i - size + 1) or None, stride))]
            for i in range(size)
        ]
        images = slices[0]
        for other in slices[1:]:
            images = ops.add(images, other)
    return images
