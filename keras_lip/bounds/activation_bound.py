"""Lipschitz bounds of the activation functions of Keras."""

from typing import Any

from keras import activations

from keras_lip.bounds.rounding import multiply_up

# The largest slope of each function, rounded up. `gelu` peaks at 1.12890 (its
# tanh form at 1.12899), `silu` at 1.09984, `selu` at scale * alpha = 1.75810.
_SLOPES: dict[Any, float] = {
    activations.elu: 1.0,
    activations.gelu: 1.1291,
    activations.hard_sigmoid: 1 / 6 + 1e-16,
    activations.hard_tanh: 1.0,
    activations.leaky_relu: 1.0,
    activations.linear: 1.0,
    activations.log_sigmoid: 1.0,
    activations.relu: 1.0,
    activations.relu6: 1.0,
    activations.selu: 1.7581,
    activations.sigmoid: 0.25,
    activations.silu: 1.0999,
    activations.softplus: 1.0,
    activations.softsign: 1.0,
    activations.tanh: 1.0,
}


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
    activation_bound(activation, 1.0)
    return activation


def activation_bound(activation: Any, inputs: float) -> float:
    """Bounds the output of an activation function.

    Args:
        activation: A function of `keras.activations`.
        inputs: Float. Lipschitz bound of the function's input.

    Returns:
        Float. Lipschitz bound of its output.

    Raises:
        ValueError: If no bound of the function is known.
    """
    slope = _SLOPES.get(activation) if callable(activation) else None
    if slope is None:
        known = ", ".join(sorted(function.__name__ for function in _SLOPES))
        name = getattr(activation, "__name__", activation)
        raise ValueError(
            f"No Lipschitz bound is known for the activation {name!r}. The "
            f"known ones are: {known}."
        )
    return multiply_up(inputs, slope)
