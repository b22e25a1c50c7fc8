"""Padding of images, with zeros or periodically, and cropping.

This is one of the few files that branch on the backend.
"""

from collections.abc import Sequence

from keras import ops

from keras_lip.traces import is_compiling
from keras_lip.types import Tensor

# How many pixels to add, or to cut off, before and after, for each axis of the
# image.
Padding = Sequence[tuple[int, int]]


def pad_zeros(tensor: Tensor, widths: Sequence[Sequence[int]]) -> Tensor:
    """Computes `keras.ops.pad`, in one graph with what follows.

    Keras makes an operation, with a name that is new, of every call of
    `keras.ops.pad`. PyTorch's compiler follows that, but cuts its graph at the
    call of the next layer.

    Args:
        tensor: Tensor.
        widths: Pairs, one for each axis: how many zeros to add before and
            after.

    Returns:
        Tensor of the padded shape.
    """
    if not is_compiling():
        return ops.pad(tensor, widths)
    import torch

    # The last axis comes first.
    flat = [width for pair in reversed(widths) for width in pair]
    return torch.nn.functional.pad(tensor, flat)


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
