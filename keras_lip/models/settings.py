"""Digests of what a model computes with: its weights, and its settings."""

import hashlib
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lip.read_weight import read_weight


def digest_model(model: keras.Model) -> str:
    """Returns a digest of all weights and settings."""
    state = hashlib.blake2b()
    for weight in model.weights:
        # Arrays of bfloat16 have no buffer.
        state.update(np.asarray(ops.convert_to_numpy(weight)).tobytes())
    state.update(digest_settings(model).encode())
    return state.hexdigest()


def digest_settings(model: keras.Model) -> str:
    """Returns a digest of all layers, their configs and derived constants.

    A step that was compiled with other settings computes another function. The
    weights are not part of it, because steps read them.
    """
    state = hashlib.blake2b()
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Normalization) and layer.built:
            for value in (layer.mean, layer.variance):
                state.update(read_weight(value).tobytes())
        state.update(f"{type(layer).__name__} {_describe(layer)}".encode())
    return state.hexdigest()


def _describe(layer: Any) -> str:
    if isinstance(layer, keras.Model):
        return ""
    try:
        return repr(layer.get_config())
    except Exception:
        # A layer of a user whose arguments cannot be told.
        return ""
