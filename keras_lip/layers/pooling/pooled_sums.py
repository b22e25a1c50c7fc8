"""Sums and roots that pooling layers are made of."""

import keras
from keras import ops

from keras_lip.types import Tensor


def safe_sqrt(squares: Tensor) -> Tensor:
    """Returns the square roots, whose gradient at zero is zero."""
    is_zero = ops.equal(squares, 0.0)
    # Zero is kept from the root itself: 0 * inf is no gradient.
    roots = ops.sqrt(ops.where(is_zero, 1.0, squares))
    return ops.where(is_zero, 0.0, roots)


def upcast(inputs: Tensor) -> Tensor:
    """Returns the inputs in float32 if they are narrower.

    The square of 256 overflows float16.
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
    """Sums over windows that lie inside of the images.

    It is made of slices: the pooling of TensorFlow refuses
    `"channels_first"` on CPUs.

    Args:
        images: Tensor.
        axes: Axes of the rows and of the columns.
        pool_size: Sides of a window.
        strides: Distances from one window to the next.

    Returns:
        A tensor with an entry for each window.
    """
    for axis, size, stride in zip(axes, pool_size, strides, strict=True):
        before = (slice(None),) * axis
        # The last window ends where the image does, or less than a stride
        # before it.
        slices = [
            images[(*before, slice(i, (i - size + 1) or None, stride))]
            for i in range(size)
        ]
        images = slices[0]
        for other in slices[1:]:
            images = ops.add(images, other)
    return images
