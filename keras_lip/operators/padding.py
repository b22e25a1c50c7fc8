"""Zero padding, periodic padding and cropping of images.

This is one of the few files that branch on the backend.
"""

from collections.abc import Sequence

from keras import ops

from keras_lip.traces import is_compiling
from keras_lip.types import Tensor

# Numbers of pixels to add or crop before and after, for each image axis.
Padding = Sequence[tuple[int, int]]


def pad_zeros(tensor: Tensor, widths: Sequence[Sequence[int]]) -> Tensor:
    """Computes `keras.ops.pad`, without breaking PyTorch's compiled graph.

    Every call of `keras.ops.pad` creates an operation with a new name.
    PyTorch's compiler can trace this, but breaks the graph at the call of the
    next layer.

    Args:
        tensor: Tensor.
        widths: Pairs, one for each axis: numbers of zeros to add before and
            after.

    Returns:
        Tensor of the padded shape.
    """
    if not is_compiling():
        return ops.pad(tensor, widths)
    import torch

    # PyTorch takes the last axis first.
    flat = [width for pair in reversed(widths) for width in pair]
    return torch.nn.functional.pad(tensor, flat)


def pad_circular(images: Tensor, padding: Padding) -> Tensor:
    """Pads images periodically.

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
        # Use slices instead of `ops.split`: with `ops.split`, PyTorch reads the
        # sizes from a tensor, so compilers and `torch.export` do not know them.
        pieces = [images]
        if before:
            pieces.insert(0, _slice(images, axis, -before, None))
        if after:
            pieces.append(_slice(images, axis, None, after))
        if len(pieces) > 1:
            images = ops.concatenate(pieces, axis=axis)
    return images


def crop_images(images: Tensor, cropping: Padding) -> Tensor:
    """Crops the borders of images.

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
