"""Checks that readers of layers and operations share."""

from typing import Any

from keras_lip.program.builder import Wire


def refuse_masks(layer: Any, x: Wire) -> None:
    """Raises an error if a layer may use the mask of a previous layer."""
    if x.builder.is_masked:
        raise ValueError(
            f"Layer '{layer.name}' may use the mask of a `Masking` layer, so "
            "no Lipschitz bound is known. Remove the `Masking` layer."
        )


def check_same_shapes(layer: Any, wires: tuple[Wire, ...]) -> None:
    """Raises an error if inputs might be broadcast against each other."""
    shapes = {wire.shape for wire in wires if wire.shape is not None}
    # The same tensor always has the same shape, known or not.
    distinct = len({wire.index for wire in wires}) > 1
    if len(shapes) > 1 or (distinct and any(None in shape for shape in shapes)):
        listed = sorted(((None, *shape) for shape in shapes), key=str)
        raise ValueError(
            f"Layer '{layer.name}' must not broadcast its inputs to be "
            "bounded: their shapes must be known and the same. Received: "
            f"input shapes {listed}"
        )


def check_fits(layer: Any, x: Wire, shape: tuple[int, ...]) -> None:
    """Raises an error if a parameter might enlarge the input.

    Its shape is aligned with the last axes of the input.
    """
    if x.shape is None:
        return
    if len(shape) == len(x.shape) + 1 and shape[0] == 1:
        shape = shape[1:]
    last = x.shape[len(x.shape) - len(shape) :]
    if len(shape) > len(x.shape) or any(
        size not in (1, axis) for size, axis in zip(shape, last, strict=True)
    ):
        raise ValueError(
            f"Layer '{layer.name}' must not broadcast its input to be bounded. "
            f"Received: input shape {(None, *x.shape)} and a parameter of "
            f"shape {tuple(shape)}"
        )


def unknown_layer(layer: Any, why: str) -> ValueError:
    """Returns the error for a layer without a known bound."""
    return ValueError(
        f"No Lipschitz bound is known for layer '{layer.name}' of type "
        f"`{type(layer).__name__}`: {why}. Use a layer of `keras_lip.layers` "
        "instead."
    )
