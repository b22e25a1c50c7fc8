"""One model's certificates, batch by batch."""

from collections.abc import Iterator
from typing import Any
from typing import NamedTuple

import keras
import numpy as np

from keras_lip.certificates.batches import iterate_batches
from keras_lip.certificates.float64_logits import Float64Logits
from keras_lip.certificates.labels import to_sparse_labels
from keras_lip.certificates.margins import margin_radii
from keras_lip.certificates.margins import predict_labels
from keras_lip.certificates.pair_bounds import find_pair_bounds
from keras_lip.types import Array
from keras_lip.validation import check_positive_integer

# The rounding errors of a float64 forward pass, relative to the magnitudes that
# go through it: some 2^17 units in the last place, thousands of times what is
# seen in networks of a hundred layers.
_FORWARD_ERROR = 2.0**-36


class BatchCertificate(NamedTuple):
    """Predictions of a batch with their radii, and the labels if given."""

    prediction: Array
    radius: Array
    label: Array | None


class Certifier:
    """Certifies batches against the model as it stands when this is made.

    Args:
        model: A built classifier.

    Raises:
        ValueError: If the model has no proven bound, or is no classifier.
    """

    def __init__(self, model: keras.Model) -> None:
        self.bounds = find_pair_bounds(model)
        self._logits = Float64Logits(model)

    def run(
        self, x: Any, y: Any, batch_size: int
    ) -> Iterator[BatchCertificate]:
        """Yields the certificate of each batch of the data."""
        batch_size = check_positive_integer("batch_size", batch_size)
        classes = len(self.bounds.matrix)
        for inputs, labels in iterate_batches(x, y, batch_size):
            if labels is not None:
                labels = to_sparse_labels(labels, classes)
            logits = self._logits(inputs)
            yield BatchCertificate(
                predict_labels(logits),
                margin_radii(
                    logits, self.bounds.matrix, self._errors(inputs, logits)
                ),
                labels,
            )

    def _errors(self, inputs: Array, logits: Array) -> Array:
        """Returns by how much each sample's margins may be off."""
        flat = inputs.reshape(len(inputs), -1).astype("float64")
        magnitude = self.bounds.lipschitz_bound * np.linalg.norm(flat, axis=1)
        with np.errstate(invalid="ignore"):
            magnitude = magnitude + np.max(np.abs(logits), axis=1)
        return _FORWARD_ERROR * magnitude
