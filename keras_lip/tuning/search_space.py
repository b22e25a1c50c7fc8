"""The search space: parameters, their values and their conditions.

Each function declares its parameters on `hp` and returns the chosen object, or
a function that creates layers. A parameter that applies to only one choice is
in the conditional scope of that choice, so it is sampled only where it has a
meaning. Every call enters all scopes, so one call declares the whole space.

Each search starts with the defaults, which work well for handwritten digits.
"""

from collections.abc import Callable
from typing import Any

import keras

import keras_lip as kl

MakeActivation = Callable[[], keras.layers.Layer]
MakeDense = Callable[[int], list[keras.layers.Layer]]
MakeConvolution = Callable[[int], list[keras.layers.Layer]]

MLP_DEPTHS = (1, 2, 3, 4)
UNITS = (64, 128, 192, 256)
DENSE_LAYERS = ("orthogonal", "lipschitz", "sandwich")
ORTHOGONAL_PARAMETRIZATIONS = (
    "bjorck",
    "cayley",
    "cholesky",
    "exponential",
    "qr",
)
LIPSCHITZ_PARAMETRIZATIONS = ("aol", "spectral")

FILTERS = (16, 32, 64)
STAGES = (1, 2, 3)
CONVOLUTIONS_PER_STAGE = (1, 2)
CONVOLUTIONS = ("bcop", "rko", "aol", "soc", "cayley")
BCOP_PARAMETRIZATIONS = ("cayley", "bjorck", "cholesky", "exponential", "qr")
RKO_PARAMETRIZATIONS = ("bjorck", "cayley")
PADDING_MODES = ("zeros", "circular")
DOWNSAMPLINGS = ("invertible", "strides", "average", "l2_norm")
DENSE_DEPTHS = (0, 1, 2)

RESIDUAL_DEPTHS = (2, 5, 10, 20)
RESIDUAL_DENSE_DEPTHS = (0, 2, 5)

# All numbers of units and filters above are multiples of the group size.
GROUP_SIZE = 4
ACTIVATIONS = (
    "max_min",
    "group_sort",
    "full_sort",
    "householder",
    "absolute_value",
)
HEADS = ("unit_norm", "orthogonal")

LOSSES = ("crossentropy", "hinge", "hkr")
TEMPERATURES = (1.0, 32.0)
ALPHAS = (1.0, 100.0)
MARGINS = (0.3, 3.0)
LEARNING_RATES = (0.01, 0.1)
NOISES = (0.0, 0.05, 0.1, 0.2)


def choose_activation(hp: Any) -> MakeActivation:
    """Declares the activation.

    Args:
        hp: A `keras_tuner.HyperParameters`.

    Returns:
        Function that creates an activation layer.
    """
    name = hp.Choice("activation", list(ACTIVATIONS)) or ACTIVATIONS[0]
    layer_cls = kl.layers.get(name)
    arguments = {"group_size": GROUP_SIZE} if name == "group_sort" else {}
    return lambda: layer_cls(**arguments)


def choose_dense(hp: Any) -> MakeDense:
    """Declares the kind of dense layers, their parametrization and activation.

    Args:
        hp: A `keras_tuner.HyperParameters`.

    Returns:
        Function of the number of units that creates a layer and its activation.
    """
    kind = hp.Choice("layer", list(DENSE_LAYERS))
    with hp.conditional_scope("layer", ["orthogonal"]):
        orthogonal = hp.Choice(
            "orthogonal_parametrization", list(ORTHOGONAL_PARAMETRIZATIONS)
        )
    with hp.conditional_scope("layer", ["lipschitz"]):
        lipschitz = hp.Choice(
            "lipschitz_parametrization", list(LIPSCHITZ_PARAMETRIZATIONS)
        )
    # A sandwich layer contains its activation.
    with hp.conditional_scope("layer", ["orthogonal", "lipschitz"]):
        activation = choose_activation(hp)

    layer_cls = kl.layers.get(kind)
    parametrization = {"orthogonal": orthogonal, "lipschitz": lipschitz}

    def make(units: int) -> list[keras.layers.Layer]:
        if kind not in parametrization:
            return [layer_cls(units)]
        layer = layer_cls(units, parametrization=parametrization[kind])
        return [layer, activation()]

    return make


def choose_convolution(hp: Any) -> Callable[..., keras.layers.Layer]:
    """Declares the kind of convolution and its parameters.

    Args:
        hp: A `keras_tuner.HyperParameters`.

    Returns:
        Function of the number of filters and the strides that creates a layer.
    """
    kind = hp.Choice("convolution", list(CONVOLUTIONS))
    with hp.conditional_scope("convolution", ["bcop"]):
        bcop = hp.Choice("bcop_parametrization", list(BCOP_PARAMETRIZATIONS))
    with hp.conditional_scope("convolution", ["rko"]):
        rko = hp.Choice("rko_parametrization", list(RKO_PARAMETRIZATIONS))
    # Convolutions in the Fourier domain are always circular.
    with hp.conditional_scope("convolution", ["bcop", "rko", "aol", "soc"]):
        padding_mode = hp.Choice("padding_mode", list(PADDING_MODES))
    layer_cls = kl.layers.get(kind)
    parametrization = {"bcop": bcop, "rko": rko}
    arguments = (
        {"parametrization": parametrization[kind]}
        if kind in parametrization
        else {}
    )

    def make(filters: int, strides: int = 1) -> keras.layers.Layer:
        return layer_cls(
            filters,
            3,
            strides=strides,
            padding_mode=padding_mode or "circular",
            data_format="channels_last",
            **arguments,
        )

    return make


def choose_head(hp: Any) -> Callable[[int], keras.layers.Layer]:
    """Declares the last layer.

    Args:
        hp: A `keras_tuner.HyperParameters`.

    Returns:
        Function of the number of classes that creates a layer.
    """
    return kl.layers.get(hp.Choice("head", list(HEADS)))


def choose_loss(hp: Any) -> keras.losses.Loss:
    """Declares the loss and its temperature, alpha and margin.

    Args:
        hp: A `keras_tuner.HyperParameters`.

    Returns:
        A loss of class indices and logits.
    """
    kind = hp.Choice("loss", list(LOSSES))
    with hp.conditional_scope("loss", ["crossentropy"]):
        temperature = hp.Float(
            "temperature", *TEMPERATURES, sampling="log", default=4.0
        )
    with hp.conditional_scope("loss", ["hinge", "hkr"]):
        margin = hp.Float("margin", *MARGINS, sampling="log", default=1.0)
    with hp.conditional_scope("loss", ["hkr"]):
        alpha = hp.Float("alpha", *ALPHAS, sampling="log", default=10.0)
    if kind == "hinge":
        return kl.losses.MulticlassHinge(margin)
    if kind == "hkr":
        return kl.losses.MulticlassHKR(alpha, margin)
    return kl.losses.TemperatureSparseCategoricalCrossentropy(temperature)


def choose_learning_rate(hp: Any) -> float:
    """Declares the peak learning rate.

    Args:
        hp: A `keras_tuner.HyperParameters`.

    Returns:
        Float.
    """
    return hp.Float(
        "learning_rate", *LEARNING_RATES, sampling="log", default=0.06
    )


def choose_noise(hp: Any) -> float:
    """Declares the noise that is added to training images.

    Args:
        hp: A `keras_tuner.HyperParameters`.

    Returns:
        Float. Standard deviation of the noise.
    """
    return hp.Choice("noise", list(NOISES), default=0.1)
