"""A Lipschitz bound that remembers where it came from."""

from typing import Any
from typing import Self

from keras_lip.types import Shape


class Bound(float):
    """The Lipschitz bound of one tensor of a model with respect to its input.

    It is a float. Rules that need more read the shape of the tensor, and heads
    the layer that made it.

    Args:
        value: Float. The bound.
        shape: Shape of the tensor, batch axis included, or `None`.
        layer: The layer or operation that computed the tensor, or `None` for
            an input.
        inputs: The bounds of the inputs of `layer`.
        methods: The methods by which the constant of `layer` was proven, where
            it was measured.
        norm: `"l2"` or `"linf"`, the norm that the bound holds in.
    """

    shape: Shape | None
    layer: Any
    inputs: tuple["Bound", ...]
    methods: tuple[str, ...]
    norm: str

    def __new__(
        cls,
        value: float,
        shape: Shape | None = None,
        layer: Any = None,
        inputs: tuple["Bound", ...] = (),
        methods: tuple[str, ...] = (),
        norm: str = "l2",
    ) -> Self:
        bound = super().__new__(cls, value)
        bound.shape = shape
        bound.layer = layer
        bound.inputs = inputs
        bound.methods = methods
        bound.norm = norm
        return bound
