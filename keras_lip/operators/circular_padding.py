"""Circular padding of images, and its adjoint."""

from keras import ops

from keras_lip.types import Tensor

# How many pixels to add before and after, for each axis of the image.
Padding = list[tuple[int, int]]


def pad_circular(images: Tensor, padding: Padding) -> Tensor:
    """Continues images periodically.

    Args:
        images: Tensor of shape `(batch_size, *image, channels)`.
        padding: List of pairs, one for each axis of the image.

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
        if size is None or before + after > size:
            head = _slice(images, axis, None, after)
            tail = _slice(images, axis, -before, None) if before else images
            whole = [images]
        else:
            # Pieces that do not overlap have a gradient that costs less.
            splits = [after, size - before]
            head, middle, tail = ops.split(images, splits, axis=axis)
            whole = [head, middle, tail]
        pieces = [tail] * (before > 0) + whole + [head] * (after > 0)
        if len(pieces) > 1:
            images = ops.concatenate(pieces, axis=axis)
    return images


def fold_circular(images: Tensor, padding: Padding) -> Tensor:
    """Applies the adjoint of `pad_circular`: adds what was padded back on.

    Args:
        images: Tensor of the padded shape.
        padding: As in `pad_circular`.

    Returns:
        Tensor of shape `(batch_size, *image, channels)`.
    """
    for axis, (before, after) in enumerate(padding, start=1):
        head = _slice(images, axis, None, before)
        tail = _slice(images, axis, -after, None)
        images = _slice(images, axis, before, -after or None)
        if before:
            # The end is what the padding before it repeats, ...
            rest = _slice(images, axis, None, -before)
            end = _slice(images, axis, -before, None) + head
            images = ops.concatenate([rest, end], axis=axis)
        if after:
            # ... and the start what the padding after it does.
            start = _slice(images, axis, None, after) + tail
            rest = _slice(images, axis, after, None)
            images = ops.concatenate([start, rest], axis=axis)
    return images


def _slice(
    images: Tensor, axis: int, start: int | None, stop: int | None
) -> Tensor:
    return images[(slice(None),) * axis + (slice(start, stop),)]
