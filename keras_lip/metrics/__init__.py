"""Certified accuracies and radii, as metrics for `compile`."""

from keras_lip.metrics.binary_certified_accuracy import BinaryCertifiedAccuracy
from keras_lip.metrics.certified_accuracy import CertifiedAccuracy
from keras_lip.metrics.mean_certifiable_robustness import (
    MeanCertifiableRobustness,
)
from keras_lip.metrics.mean_certified_radius import MeanCertifiedRadius
from keras_lip.metrics.registry import get
from keras_lip.metrics.registry import register_tuner_objectives
from keras_lip.metrics.registry import serialize

__all__ = (
    "BinaryCertifiedAccuracy",
    "CertifiedAccuracy",
    "MeanCertifiableRobustness",
    "MeanCertifiedRadius",
    "get",
    "serialize",
)


def __dir__() -> tuple[str, ...]:
    return __all__


register_tuner_objectives()
