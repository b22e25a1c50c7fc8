"""Sums over the windows of images."""

from keras import ops

from keras_lip.types import Tensor


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
