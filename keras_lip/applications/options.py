"""The activations and heads that an application can end layers with."""

from collections.abc import Callable

import keras

from keras_lip.layers.activations.absolute_value import AbsoluteValue
from keras_lip.layers.activations.group_sort import GroupSort
from keras_lip.layers.activations.householder import Householder
from keras_lip.layers.activations.max_min import MaxMin
from keras_lip.layers.core.curvature_head import CurvatureHead
from keras_lip.layers.core.orthogonal_dense import OrthogonalDense
from keras_lip.layers.core.unit_norm_dense import UnitNormDense
from keras_lip.layers.reshaping.truncate_channels import TruncateChannels
from keras_lip.validation import check_known
from keras_lip.validation import check_positive_integer

_ACTIVATIONS: dict[str, Callable[[], keras.layers.Layer]] = {
    "absolute": AbsoluteValue,
    "groupsort": GroupSort,
    "householder": Householder,
    "maxmin": MaxMin,
    "relu": keras.layers.ReLU,
}


def make_activation(activation: str) -> keras.layers.Layer:
    """Makes a 1-Lipschitz activation, or lists the known names."""
    check_known("activation", activation, _ACTIVATIONS)
    return _ACTIVATIONS[activation]()


def make_head(
    head: str,
    classes: int,
    parametrization: str = "cayley",
    hidden_units: int = 4096,
) -> keras.layers.Layer:
    """Makes the last layer of a classifier.

    Args:
        head: `"curvature"`, `"orthogonal"`, `"truncation"` or `"unit_norm"`.
        classes: Positive integer. Number of outputs.
        parametrization: Name of an orthogonal parametrization, for
            `"orthogonal"`.
        hidden_units: Positive integer, for `"curvature"`.

    Returns:
        A layer.

    Raises:
        ValueError: If `head` is not known, or if `classes` or `hidden_units`
            is no positive integer.
    """
    check_positive_integer("classes", classes)
    check_positive_integer("hidden_units", hidden_units)
    heads: dict[str, Callable[[], keras.layers.Layer]] = {
        "curvature": lambda: CurvatureHead(classes, hidden_units),
        "orthogonal": lambda: OrthogonalDense(
            classes, parametrization=parametrization
        ),
        "truncation": lambda: TruncateChannels(classes),
        "unit_norm": lambda: UnitNormDense(classes),
    }
    check_known("head", head, heads)
    return heads[head]()
