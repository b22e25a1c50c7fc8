"""Checks that readers of layers and operations share."""

from typing import Any

import numpy as np

from keras_lip.program.builder import Wire
from keras_lip.program.node import enlarges


def refuse_masks(layer: Any, x: Wire) -> None:
    """Raises an error if a layer may use the mask of a previous layer."""
    if x.builder.is_masked:
        raise ValueError(
            f"Layer '{layer.name}' may use the mask of a `Masking` layer, so "
            "no Lipschitz bound is known. Remove the `Masking` layer."
        )


def check_same_shapes(layer: Any, wires: tuple[Wire, ...]) -> None:
    """Raises an error if inputs might be broadcast against each other."""
    shapes = {wire.shape for wire in wires}
    # The same tensor always has the same shape, known or not.
    distinct = len({wire.index for wire in wires}) > 1
    unknown = any(shape is None or None in shape for shape in shapes)
    if len(shapes) > 1 or (distinct and unknown):
        listed = sorted(
            ((None, *shape) if shape is not None else None for shape in shapes),
            key=str,
        )
        raise ValueError(
            f"Layer '{layer.name}' must not broadcast its inputs to be "
            "bounded: their shapes must be known and the same. Build a layer "
            f"for them before. Received: input shapes {listed}"
        )


def check_fits(layer: Any, x: Wire, shape: tuple[int, ...]) -> None:
    """Raises an error if a parameter might enlarge the input.

    Its shape is aligned with the last axes of the input.
    """
    # Without a shape, samples have at least one axis.
    single = x.shape is None and shape in ((), (1,))
    if not single and (x.shape is None or enlarges(x.shape, np.empty(shape))):
        received = None if x.shape is None else (None, *x.shape)
        raise ValueError(
            f"Layer '{layer.name}' must not broadcast its input to be bounded. "
            "Build it for inputs of its shape before. Received: input shape "
            f"{received} and a parameter of shape {tuple(shape)}"
        )


def unknown_layer(layer: Any, why: str) -> ValueError:
    """Returns the error for a layer without a known bound."""
    return ValueError(
        f"No Lipschitz bound is known for layer '{layer.name}' of type "
        f"`{type(layer).__name__}`: {why}. Use a layer of `keras_lip.layers` "
        "instead."
    )
