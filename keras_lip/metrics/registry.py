"""Metrics by name: to and from configs, and as objectives of keras-tuner."""

import importlib.util
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


def register_tuner_objectives() -> None:
    """Tells keras-tuner, where it is installed, that more is better.

    keras-tuner infers the direction of `objective="val_certified_accuracy"`
    from a list of names, which is all that it offers for metrics that Keras
    does not bring. Without that list, or without a name on it,
    `keras_tuner.Objective("val_certified_accuracy", "max")` does the same.
    """
    if importlib.util.find_spec("keras_tuner") is None:
        return
    try:
        from keras_tuner.src.engine import metrics_tracking

        known = metrics_tracking._MAX_METRIC_FNS
    except (ImportError, AttributeError):
        # Another release of keras-tuner, which asks for a direction.
        return
    metrics_tracking._MAX_METRIC_FNS = tuple(dict.fromkeys((*known, *BY_NAME)))
