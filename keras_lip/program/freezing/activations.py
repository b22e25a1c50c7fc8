"""Activation functions with known Lipschitz bounds."""

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
        ValueError: If it is unknown. The message lists the known names.
    """
    if activation is None or activation is activations.linear:
        return wire
    if activation is activations.softmax:
        return wire.then(Softmax())
    return wire.then(make_activation(activation))


def make_activation(activation: Any) -> Elementwise:
    """Returns the node of an activation function of Keras.

    Raises:
        ValueError: If it is unknown. The message lists the known names.
    """
    check_activation(activation)
    return Elementwise(activation.__name__)


def get_activation(identifier: Any) -> Any:
    """Returns an activation function with a known Lipschitz bound.

    Args:
        identifier: Name, config or function of `keras.activations`, or `None`
            for the identity.

    Returns:
        The function.

    Raises:
        ValueError: If it is unknown or has no known bound. The message lists
            the known names.
    """
    try:
        activation = activations.get(identifier)
    except (ValueError, TypeError):
        activation = identifier
    check_activation(activation)
    return activation


def get_monotone_activation(identifier: Any) -> Any:
    """Returns a non-decreasing 1-Lipschitz activation function.

    Args:
        identifier: Name, config or function of `keras.activations`, or `None`
            for the identity.

    Returns:
        The function.

    Raises:
        ValueError: If it is not known to be non-decreasing and 1-Lipschitz. The
            message lists the known names.
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
    """Returns the largest slope of a known activation function."""
    if activation is None or activation is activations.linear:
        return 1.0
    check_activation(activation)
    return FUNCTIONS[activation.__name__].slope


def check_activation(activation: Any) -> None:
    """Raises an error if an activation function has no known bound."""
    if find_function(activation) is None:
        known = ", ".join(sorted(FUNCTIONS))
        name = getattr(activation, "__name__", activation)
        raise ValueError(
            f"No Lipschitz bound is known for the activation {name!r}. The "
            f"known ones are: {known}."
        )
