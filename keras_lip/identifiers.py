"""Objects by their names and configs."""

from collections.abc import Mapping
from typing import Any
from typing import TypeVar

import keras

from keras_lip.types import Config
from keras_lip.validation import check_known

_Object = TypeVar("_Object")


def find_object(
    identifier: str | Config | _Object,
    by_name: Mapping[str, type[_Object]],
    base: Any,
    what: str,
    face: str,
) -> _Object:
    """Returns an object by its name or config.

    Args:
        identifier: A key of `by_name`, a config of
            `keras.saving.serialize_keras_object`, or an instance of `base`,
            which is returned unchanged.
        by_name: Classes by name, which need no arguments.
        base: The class that the object must be an instance of.
        what: String. A noun for it, such as `"loss"`.
        face: String. The package with its classes, such as `"losses"`.

    Returns:
        An instance of `base`.

    Raises:
        ValueError: If the name is unknown. The message lists the known names.
        TypeError: If `identifier` is nothing of this kind.
    """
    found: Any = identifier
    if isinstance(identifier, dict):
        found = keras.saving.deserialize_keras_object(identifier)
    elif isinstance(identifier, str):
        check_known(what, identifier, by_name)
        found = by_name[identifier]()
    if not isinstance(found, base):
        raise TypeError(
            f"A {what} is given by its name, its config or an instance of "
            f"`keras_lip.{face}`. Received: {identifier!r}"
        )
    return found
