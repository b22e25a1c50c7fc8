"""Logits in float64, of the function that the weights define."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lip.bounds.visit_layers import visit_layers
from keras_lip.layers.rebuild_model import copy_layer
from keras_lip.layers.rebuild_model import rebuild_model
from keras_lip.layers.to_keras_model import to_keras_model
from keras_lip.precision import float64_scope
from keras_lip.precision import full_precision_scope
from keras_lip.types import Array


class Float64Logits:
    """Evaluates a model in float64, on every backend.

    The model is copied, with the weights and scales that run at inference, and
    every layer of the copy computes in float64.

    Args:
        model: A built model that computes in float32 or float64.
        omit: A layer of one input that shall pass its input on instead; the
            last one, for the features that it receives.

    Raises:
        ValueError: If a layer computes in less than float32.
    """

    def __init__(self, model: keras.Model, omit: Any = None) -> None:
        for layer in visit_layers(model):
            dtype = getattr(layer, "compute_dtype", None)
            if dtype in ("float16", "bfloat16"):
                raise ValueError(
                    "Certificates are for models that compute in float32 or "
                    f"float64. Layer '{layer.name}' computes in "
                    f"{dtype}: its roundings are not accounted "
                    "for. Rebuild the model under the float32 policy and load "
                    "the weights."
                )
        # The stock layers are made outside of the scope, from the weights as
        # the live layers compute them.
        with full_precision_scope():
            stock = to_keras_model(model, audited=False, omit=omit)
        with float64_scope():
            self._model = rebuild_model(stock, _copy, dtype="float64")

    def __call__(self, x: Array) -> Array:
        """Returns float64 logits of shape `(batch_size, classes)`."""
        with float64_scope():
            inputs = ops.convert_to_tensor(
                np.asarray(x, dtype="float64"), dtype="float64"
            )
            logits = self._model(inputs, training=False)
            return np.asarray(ops.convert_to_numpy(logits), dtype="float64")


def _copy(layer: Any, args: tuple[Any, ...]) -> Any:
    copy = copy_layer(layer, args, "float64")
    if getattr(copy, "activation", None) is keras.activations.softplus:
        # That of PyTorch is the identity from 20 on, which is off by 2e-9.
        copy.activation = lambda x: ops.logaddexp(x, ops.zeros_like(x))
    return copy
