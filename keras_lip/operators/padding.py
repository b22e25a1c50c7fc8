"""Zero padding, periodic padding and cropping of images.

This is one of the few files that branch on the backend.
"""

import functools
import itertools
from collections.abc import Sequence
from typing import Any

from keras import ops

from keras_lip.traces import is_compiling
from keras_lip.traces import is_eager_torch
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

    In eager PyTorch, the padded images and their gradient are each written
    once. With automatic differentiation, the gradient of each slice of a tensor
    would be as large as the tensor.

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
    if not any(map(any, padding)):
        return images
    if is_eager_torch(images):
        return _make_torch_function()(images, tuple(map(tuple, padding)))
    for axis, (before, after) in enumerate(padding, start=1):
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


@functools.cache
def _make_torch_function() -> Any:
    """Returns the padding function for PyTorch, with its derivatives."""
    import torch

    class PadCircular(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(images: Tensor, padding: Padding) -> Tensor:
            return _wrap(images, padding)

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
            _, ctx.padding = inputs

        @staticmethod
        def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
            return _unwrap(upstream, ctx.padding), None

        @staticmethod
        def jvp(ctx: Any, tangent: Tensor, _: None) -> Tensor:
            return _wrap(tangent, ctx.padding)

    return PadCircular.apply


def _wrap(images: Tensor, padding: Padding) -> Tensor:
    """Writes images and their circular padding into a new tensor."""
    batch, *sides, channels = images.shape
    padded = [
        before + side + after
        for side, (before, after) in zip(sides, padding, strict=True)
    ]
    outputs = images.new_empty((batch, *padded, channels))
    # The part that has been written, along the axes up to the padded one.
    written = [outputs]
    for axis, (side, (before, _)) in enumerate(
        zip(sides, padding, strict=True), start=1
    ):
        written.append(written[-1].narrow(axis, before, side))
    written.pop().copy_(images)
    for axis in range(len(sides), 0, -1):
        side, (before, after) = sides[axis - 1], padding[axis - 1]
        rows = written.pop()
        if before:
            rows.narrow(axis, 0, before).copy_(rows.narrow(axis, side, before))
        if after:
            source = rows.narrow(axis, before, after)
            rows.narrow(axis, before + side, after).copy_(source)
    return outputs


def _unwrap(images: Tensor, padding: Padding) -> Tensor:
    """Applies the adjoint of `_wrap`: adds up all copies of a pixel."""
    parts = []
    for size, (before, after) in zip(images.shape[1:-1], padding, strict=True):
        side = size - before - after
        # For each part: its position in the padded and in the original images.
        found = [(before, 0, side), (0, side - before, before)]
        found.append((before + side, 0, after))
        parts.append([part for part in found if part[-1]])
    inside, *around = itertools.product(*parts)
    outputs = images
    for axis, (start, _, length) in enumerate(inside, start=1):
        outputs = outputs.narrow(axis, start, length)
    # Copies the gradient, because other code may use it as well.
    outputs = ops.copy(outputs)
    for part in around:
        source, target = images, outputs
        for axis, (start, stop, length) in enumerate(part, start=1):
            source = source.narrow(axis, start, length)
            target = target.narrow(axis, stop, length)
        target.add_(source)
    return outputs


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
