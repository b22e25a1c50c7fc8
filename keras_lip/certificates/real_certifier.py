"""Certificates of the real-valued function that a model's weights define."""

import keras
import numpy as np

from keras_lip.certificates.curvature_radii import curvature_radii
from keras_lip.certificates.float64_logits import Float64Logits
from keras_lip.certificates.margins import Margins
from keras_lip.certificates.margins import pair_margins
from keras_lip.certificates.margins import predict_labels
from keras_lip.certificates.pair_bounds import PairBounds
from keras_lip.layers.core.curvature_head import CurvatureHead
from keras_lip.types import Array

# The rounding errors of a float64 forward pass, relative to the magnitudes that
# go through it: some 2^17 units in the last place, thousands of times what is
# seen in networks of a hundred layers.
_FORWARD_ERROR = 2.0**-36


class RealCertifier:
    """Certifies the real-valued function that a model's weights define.

    Logits and features are computed in float64, from the weights that run at
    inference. A model that ends in a `CurvatureHead` is certified by its
    curvature as well, in the l2 norm.

    Args:
        model: A built classifier. Its weights must not change after.
        bounds: What `find_pair_bounds` finds for it.

    Raises:
        ValueError: If a layer computes in less than float32.
    """

    def __init__(self, model: keras.Model, bounds: PairBounds) -> None:
        self._bounds = bounds
        self._logits = Float64Logits(model)
        self._features = None
        if bounds.norm == "l2" and type(bounds.last_layer) is CurvatureHead:
            self._head = bounds.last_layer.read_weights()
            self._features = Float64Logits(model, omit=bounds.last_layer)

    def __call__(self, x: Array) -> tuple[Margins, Array]:
        """Bounds the margins of a batch of finite inputs.

        Returns:
            Tuple of the margins, and of radii that hold whatever these say,
            which are zero where nothing more is known.
        """
        logits = self._logits(x)
        flat = x.reshape(len(x), -1).astype("float64")
        # The l2 norm is the larger one.
        reach = self._bounds.lipschitz_bound * np.linalg.norm(flat, axis=1)
        with np.errstate(invalid="ignore"):
            magnitude = reach + np.max(np.abs(logits), axis=1)
        margins = pair_margins(
            logits, self._bounds.matrix, _FORWARD_ERROR * magnitude
        )
        if self._features is None:
            return margins, np.zeros(len(logits))
        features = self._features(x)
        trunk_bound = self._bounds.trunk_bound
        reach = trunk_bound * np.linalg.norm(flat, axis=1)
        magnitude = reach + np.linalg.norm(features, axis=1)
        return margins, curvature_radii(
            features,
            predict_labels(logits),
            self._head,
            trunk_bound,
            _FORWARD_ERROR * magnitude,
        )
