"""Serialization of parametrizations."""

import keras

from keras_lip.identifiers import find_object
from keras_lip.parametrizations.aol import AOL
from keras_lip.parametrizations.bjorck import Bjorck
from keras_lip.parametrizations.block_reflector import BlockReflector
from keras_lip.parametrizations.cayley import Cayley
from keras_lip.parametrizations.cholesky import Cholesky
from keras_lip.parametrizations.exponential import Exponential
from keras_lip.parametrizations.frobenius import Frobenius
from keras_lip.parametrizations.parametrization import Parametrization
from keras_lip.parametrizations.qr import QR
from keras_lip.parametrizations.spectral import Spectral
from keras_lip.types import Config

BY_NAME: dict[str, type[Parametrization]] = {
    "aol": AOL,
    "bjorck": Bjorck,
    "block_reflector": BlockReflector,
    "cayley": Cayley,
    "cholesky": Cholesky,
    "exponential": Exponential,
    "frobenius": Frobenius,
    "qr": QR,
    "spectral": Spectral,
}


def serialize(parametrization: Parametrization) -> Config:
    """Returns a parametrization as a JSON-ready dict.

    Args:
        parametrization: A `Parametrization`.

    Returns:
        Dict for `get` and `keras.saving.deserialize_keras_object`.
    """
    config: Config = keras.saving.serialize_keras_object(parametrization)
    return config


def get(identifier: str | Config | Parametrization) -> Parametrization:
    """Returns a parametrization by its name or config.

    Args:
        identifier: A name such as `"bjorck"`, the output of `serialize`, or a
            `Parametrization`, which is returned unchanged.

    Returns:
        A `Parametrization`.

    Raises:
        ValueError: If the name is unknown. The message lists the known names.
        TypeError: If `identifier` is not a parametrization.
    """
    return find_object(
        identifier,
        BY_NAME,
        Parametrization,
        "parametrization",
        "parametrizations",
    )


def get_orthogonal(
    identifier: str | Config | Parametrization, owner: str
) -> Parametrization:
    """Returns an orthogonal parametrization by its name or config.

    Args:
        identifier: A name such as `"cayley"`, the output of `serialize`, or a
            `Parametrization`, as in `get`.
        owner: String. The caller, such as the name of a layer's class, for the
            error message.

    Returns:
        A `Parametrization` whose attribute `orthogonal` is `True`.

    Raises:
        ValueError: If the name is unknown, or the parametrization is not
            orthogonal.
        TypeError: If `identifier` is not a parametrization.

    Example:

    >>> parametrizations = keras_lip.parametrizations
    >>> parametrizations.get_orthogonal("qr", owner="MyDense").orthogonal
    True
    """
    found = get(identifier)
    if not found.orthogonal:
        names = [name for name, cls in BY_NAME.items() if cls.orthogonal]
        raise ValueError(
            f"`{owner}` needs an orthogonal parametrization: pass one of "
            f"{names}, or a `Parametrization` whose attribute `orthogonal` is "
            f"true. Received: parametrization={identifier!r}"
        )
    return found
