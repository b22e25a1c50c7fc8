"""Refusals of what would be broadcast, which stretches the norm."""

from collections.abc import Sequence
from typing import Any

from keras_lip.types import Shape


def check_same_shapes(layer: Any, inputs: Sequence[float]) -> None:
    """Refuses inputs that might be broadcast against each other.

    Args:
        layer: The layer or operation.
        inputs: Its bounds. Of one that knows no shape nothing is checked.
    """
    shapes = [getattr(bound, "shape", None) for bound in inputs]
    known = {tuple(shape) for shape in shapes if shape is not None}
    # What is the same tensor has the same shape, known or not.
    distinct = len({id(bound) for bound in inputs}) > 1
    if len(known) > 1 or (distinct and any(None in s[1:] for s in known)):
        raise ValueError(
            f"Layer '{layer.name}' must not broadcast its inputs to be "
            "bounded: their shapes must be known and the same. Received: "
            f"input shapes {sorted(known, key=str)}"
        )


def check_fits(layer: Any, inputs: float, shape: Shape) -> None:
    """Refuses a parameter that might enlarge the input.

    Args:
        layer: The layer.
        inputs: The bound of its input. If that knows no shape, nothing is
            checked.
        shape: Shape of the parameter, which is aligned with the last axes of
            the input.
    """
    known = getattr(inputs, "shape", None)
    if known is None:
        return
    last = tuple(known)[len(known) - len(shape) :]
    if len(shape) > len(known) or any(
        size not in (1, axis) for size, axis in zip(shape, last, strict=True)
    ):
        raise ValueError(
            f"Layer '{layer.name}' must not broadcast its input to be bounded. "
            f"Received: input shape {tuple(known)} and a parameter of shape "
            f"{tuple(shape)}"
        )
