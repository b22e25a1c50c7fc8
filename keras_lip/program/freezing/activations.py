"""What activation functions compute."""

from typing import Any

from keras import activations

from keras_lip.program.builder import Wire
from keras_lip.program.nodes.elementwise import FUNCTIONS
from keras_lip.program.nodes.elementwise import Elementwise
from keras_lip.program.nodes.elementwise import Softmax
from keras_lip.program.nodes.elementwise import find_function


def activate(wire: Wire, activation: Any) -> Wire:
    """Applies an activation function of Keras to a wire.

    Raises:
        ValueError: If it is not known, with the names of those that are.
    """
    if activation is None or activation is activations.linear:
        return wire
    if activation is activations.softmax:
        return wire.then(Softmax())
    check_activation(activation)
    return wire.then(Elementwise(activation.__name__))


def get_activation(identifier: Any) -> Any:
    """Retrieves an activation function whose Lipschitz bound is known.

    Args:
        identifier: Name, config or function of `keras.activations`, or `None`
            for the identity.

    Returns:
        The function.

    Raises:
        ValueError: If it is unknown or no bound of it is known, with the names
            of those that are.
    """
    try:
        activation = activations.get(identifier)
    except (ValueError, TypeError):
        activation = identifier
    check_activation(activation)
    return activation


def get_monotone_activation(identifier: Any) -> Any:
    """Retrieves a non-decreasing 1-Lipschitz activation function.

    Args:
        identifier: Name, config or function of `keras.activations`, or `None`
            for the identity.

    Returns:
        The function.

    Raises:
        ValueError: If it is not known to be non-decreasing and 1-Lipschitz,
            with the names of those that are.
    """
    activation = get_activation(identifier)
    name = activation.__name__
    if not FUNCTIONS[name].monotone:
        listed = sorted(key for key in FUNCTIONS if FUNCTIONS[key].monotone)
        raise ValueError(
            f"Unknown non-decreasing 1-Lipschitz activation: {name!r}. The "
            f"known ones are: {', '.join(map(repr, listed))}."
        )
    return activation


def find_slope(activation: Any) -> float:
    """Returns the largest slope of an activation function that is known."""
    if activation is None or activation is activations.linear:
        return 1.0
    check_activation(activation)
    return FUNCTIONS[activation.__name__].slope


def check_activation(activation: Any) -> None:
    """Refuses an activation function whose Lipschitz bound is not known."""
    if find_function(activation) is None:
        known = ", ".join(sorted(FUNCTIONS))
        name = getattr(activation, "__name__", activation)
        raise ValueError(
            f"No Lipschitz bound is known for the activation {name!r}. The "
            f"known ones are: {known}."
        )
