"""Metrics by name, and to and from configs."""

from typing import Any

import keras

from keras_lip.metrics.binary_certified_accuracy import BinaryCertifiedAccuracy
from keras_lip.metrics.certified_accuracy import CertifiedAccuracy
from keras_lip.metrics.certified_metric import CertifiedMetric
from keras_lip.metrics.mean_certifiable_robustness import (
    MeanCertifiableRobustness,
)
from keras_lip.metrics.mean_certified_radius import MeanCertifiedRadius
from keras_lip.types import Config
from keras_lip.validation import check_known

BY_NAME: dict[str, type[CertifiedMetric]] = {
    "binary_certified_accuracy": BinaryCertifiedAccuracy,
    "certified_accuracy": CertifiedAccuracy,
    "mean_certifiable_robustness": MeanCertifiableRobustness,
    "mean_certified_radius": MeanCertifiedRadius,
}


def serialize(metric: keras.metrics.Metric) -> Config:
    """Returns a metric as a JSON-ready dict.

    Args:
        metric: A `keras.metrics.Metric`.
    """
    config: Config = keras.saving.serialize_keras_object(metric)
    return config


def get(
    identifier: str | Config | keras.metrics.Metric,
) -> keras.metrics.Metric:
    """Retrieves a metric by name, by config or as it is.

    The `compile` of a `LipschitzModel` knows these names. That of another
    `keras.Model` knows Keras's own names only: pass it the result.

    Args:
        identifier: A name such as `"certified_accuracy"`, the output of
            `serialize`, or a `keras.metrics.Metric`, which is returned
            unchanged.

    Returns:
        A `keras.metrics.Metric`.

    Raises:
        ValueError: If the name is unknown, listing the known ones.
        TypeError: If it is no metric at all.

    Example:

    >>> keras_lip.metrics.get("mean_certified_radius").name
    'mean_certified_radius'
    """
    found: Any = identifier
    if isinstance(identifier, dict):
        found = keras.saving.deserialize_keras_object(identifier)
    elif isinstance(identifier, str):
        check_known("metric", identifier, BY_NAME)
        found = BY_NAME[identifier]()
    if not isinstance(found, keras.metrics.Metric):
        raise TypeError(
            "A metric is given by its name, its config or an instance of "
            f"`keras_lip.metrics`. Received: {identifier!r}"
        )
    return found
