"""Activations that are gradients of smooth convex functions."""

from typing import Any

from keras_lip.bounds.activation_bound import get_activation
from keras_lip.validation import check_known

# Non-decreasing, with slopes between zero and one.
_ACTIVATIONS = (
    "elu",
    "hard_sigmoid",
    "hard_tanh",
    "leaky_relu",
    "linear",
    "log_sigmoid",
    "relu",
    "relu6",
    "sigmoid",
    "softplus",
    "softsign",
    "tanh",
)


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
    check_known(
        "non-decreasing 1-Lipschitz activation",
        activation.__name__,
        _ACTIVATIONS,
    )
    return activation
