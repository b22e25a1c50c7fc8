"""Copies of models, with new weights."""

from typing import TypeVar

import keras

from keras_lip.graph import check_model

_Model = TypeVar("_Model", bound=keras.Model)


def clone_model(model: _Model) -> _Model:
    """Makes an untrained copy of a model, of the same class.

    `keras.models.clone_model` does the same, except that it turns a subclass of
    `keras.Sequential` into a plain `keras.Sequential`.

    Args:
        model: A functional or sequential model, or a subclassed one with a
            `get_config`.

    Returns:
        A model of the same class and architecture, with newly initialized
        weights. It is not compiled.

    Raises:
        TypeError: If `model` is not a `keras.Model`.
    """
    check_model(model, needs_build=False)
    clone: _Model = type(model).from_config(model.get_config())
    return clone
