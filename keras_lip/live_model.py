"""Calls a model from the host in full precision."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lip.autodiff import gradient
from keras_lip.held_values import Values
from keras_lip.held_values import holding_values
from keras_lip.precision import full_precision_scope
from keras_lip.read_weight import read_weight
from keras_lip.types import Array
from keras_lip.types import Tensor
from keras_lip.weight_digest import digest_weights


class LiveModel:
    """Runs and differentiates a model at inference, on NumPy arrays.

    Args:
        model: A built model with one input and one output. It computes in its
            own dtype, with autocast and reduced precision disabled. Its weights
            must not change afterwards, unless `refresh` is called.
    """

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        inputs = getattr(model, "inputs", None)
        found = inputs[0].dtype if inputs else model.compute_dtype
        self.dtype = keras.backend.standardize_dtype(found)
        self._values: Values = {}
        self._version = digest_weights(model.variables)

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Makes a context in which the model's weights must not change.

        In this context, and in every call of the model, the constrained kernels
        of its layers are computed only once.
        """
        with full_precision_scope(), holding_values(self._values):
            yield

    def refresh(self) -> None:
        """Forgets constrained kernels if a weight has changed."""
        version = digest_weights(self._model.variables)
        if version != self._version:
            self._values.clear()
            self._version = version

    def __call__(self, x: Array) -> Array:
        """Returns the outputs, in float64."""
        with self.hold():
            return read_weight(self._run(self._convert(x)))

    def pull_back(self, x: Array, weights: Array) -> Array:
        """Returns the gradients of each sample's weighted sum of outputs."""

        def weigh(inputs: Tensor) -> Tensor:
            outputs = self._run(inputs)
            factors = ops.convert_to_tensor(weights, dtype=outputs.dtype)
            return ops.sum(ops.multiply(outputs, factors))

        with self.hold():
            return read_weight(gradient(weigh, self._convert(x)))

    def _convert(self, x: Array) -> Tensor:
        # Numbers that overflow become infinite on every backend.
        with np.errstate(over="ignore"):
            return ops.convert_to_tensor(np.asarray(x), dtype=self.dtype)

    def _run(self, inputs: Any) -> Any:
        # The output may be in a dict.
        (output,) = keras.tree.flatten(self._model(inputs, training=False))
        return output
