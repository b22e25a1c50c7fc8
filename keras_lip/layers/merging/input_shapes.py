"""Checks the input shapes of a layer that merges branches."""

from collections.abc import Sequence
from typing import Any

from keras_lip.layers.activations.channel_groups import check_axis


def check_input_shapes(
    layer: Any, input_shapes: Sequence[Any], axis: int | None = None
) -> None:
    """Raises an error unless there are several inputs of the same shape.

    Args:
        layer: The layer, for the error message.
        input_shapes: The argument of the layer's `build`.
        axis: Integer. An axis on which sizes may differ. Defaults to `None`.

    Raises:
        ValueError: If there is a single input, the shapes differ, or `axis` is
            not an axis of the inputs or is the batch axis.
    """
    is_list = input_shapes and all(
        isinstance(shape, list | tuple) for shape in input_shapes
    )
    if not is_list or len(input_shapes) < 2:
        raise ValueError(
            f"Layer '{layer.name}' must be called on a list of at least two "
            f"inputs. Received: input_shape={input_shapes}"
        )
    shapes = []
    for input_shape in input_shapes:
        shape = list(input_shape)
        if axis is not None:
            check_axis(layer, input_shape, axis)
            shape[axis] = 0
        shapes.append(tuple(shape[1:]))
    if len(set(shapes)) > 1:
        but = "" if axis is None else f", except on axis {axis}"
        raise ValueError(
            f"Layer '{layer.name}' must not broadcast its inputs: their shapes "
            f"must be the same{but}. Received: input shapes "
            f"{[tuple(shape) for shape in input_shapes]}"
        )
