"""Circular padding of images, and cropping."""

from collections.abc import Sequence

from keras import ops

from keras_lip.types import Tensor

# How many pixels to add, or to cut off, before and after, for each axis of the
# image.
Padding = Sequence[tuple[int, int]]


def pad_circular(images: Tensor, padding: Padding) -> Tensor:
    """Continues images periodically.

    Args:
        images: Tensor of shape `(batch_size, *image, channels)`.
        padding: Pairs, one for each axis of the image.

    Returns:
        Tensor of the padded shape.

    Raises:
        ValueError: If an image is shorter than its padding.
    """
    for axis, (before, after) in enumerate(padding, start=1):
        size = images.shape[axis]
        if size is not None and max(before, after) > size:
            raise ValueError(
                "Circular padding cannot be longer than the image. Received: "
                f"padding=({before}, {after}) for axis {axis} of images of "
                f"shape {tuple(images.shape)}. Use a smaller kernel, or "
                '`padding_mode="zeros"`.'
            )
        # Slices and no `ops.split`: Keras has PyTorch read from a tensor where
        # to split, so that compilers and `torch.export` know no sizes.
        pieces = [images]
        if before:
            pieces.insert(0, _slice(images, axis, -before, None))
        if after:
            pieces.append(_slice(images, axis, None, after))
        if len(pieces) > 1:
            images = ops.concatenate(pieces, axis=axis)
    return images


def crop_images(images: Tensor, cropping: Padding) -> Tensor:
    """Cuts the borders of images off.

    Args:
        images: Tensor of shape `(batch_size, *image, channels)`.
        cropping: Pairs, one for each axis of the image.

    Returns:
        Tensor of the cropped shape.
    """
    if not any(map(any, cropping)):
        return images
    kept = [slice(before, -after or None) for before, after in cropping]
    return images[(slice(None), *kept)]


def _slice(
    images: Tensor, axis: int, start: int | None, stop: int | None
) -> Tensor:
    return images[(slice(None),) * axis + (slice(start, stop),)]
