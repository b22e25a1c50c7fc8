"""A model in float64 that knows where its logits grow."""

import numpy as np
from keras import ops

from keras_lip.autodiff import gradient
from keras_lip.bounds.search_stretch import search_stretch
from keras_lip.certificates.float64_logits import Float64Logits
from keras_lip.precision import float64_scope
from keras_lip.types import Array
from keras_lip.types import Tensor

# The rounding errors of a float64 forward pass, relative to the magnitudes that
# go through it: thousands of units in the last place.
ROUNDING = 2.0**-40


class AttackedModel(Float64Logits):
    """Evaluates and differentiates a model in float64, on every backend.

    What is attacked is thereby what `keras_lip.certificates.certify` computes
    logits with. Takes the arguments of `Float64Logits`.
    """

    def gradients(self, x: Array, weights: Array) -> Array:
        """Differentiates each sample's weighted sum of logits.

        Args:
            x: Array of inputs.
            weights: Array of shape `(batch_size, classes)`.

        Returns:
            Float64 array of the shape of `x`, zero where it is not finite.
        """
        with float64_scope():
            factors = ops.convert_to_tensor(weights, dtype="float64")

            def weigh(inputs: Tensor) -> Tensor:
                return ops.sum(ops.multiply(self._run(inputs), factors))

            inputs = ops.convert_to_tensor(x, dtype="float64")
            found = ops.convert_to_numpy(gradient(weigh, inputs))
        return np.where(np.isfinite(found), found, 0.0)

    def stretch(
        self, x: Array, directions: Array, length: float, steps: int, norm: str
    ) -> float:
        """Estimates the Lipschitz constant from below, as `search_stretch`."""
        with float64_scope():
            inputs = ops.convert_to_tensor(x, dtype="float64")
            return search_stretch(
                self._run, inputs, directions, length, steps, norm, ROUNDING
            )

    def _run(self, inputs: Tensor) -> Tensor:
        return self._model(inputs, training=False)
