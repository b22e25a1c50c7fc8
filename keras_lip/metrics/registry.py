"""Serialization of metrics, and their use as objectives of keras-tuner."""

import importlib.util

import keras

from keras_lip.identifiers import find_object
from keras_lip.metrics.binary_certified_accuracy import BinaryCertifiedAccuracy
from keras_lip.metrics.certified_accuracy import CertifiedAccuracy
from keras_lip.metrics.certified_metric import CertifiedMetric
from keras_lip.metrics.mean_certifiable_robustness import (
    MeanCertifiableRobustness,
)
from keras_lip.metrics.mean_certified_radius import MeanCertifiedRadius
from keras_lip.types import Config

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

    Returns:
        Dict for `get` and `keras.saving.deserialize_keras_object`.
    """
    config: Config = keras.saving.serialize_keras_object(metric)
    return config


def get(
    identifier: str | Config | keras.metrics.Metric,
) -> keras.metrics.Metric:
    """Returns a metric by its name or config.

    `LipschitzModel.compile` accepts these names. The `compile` of other models
    accepts only Keras's names: pass it the result of this function.

    Args:
        identifier: A name such as `"certified_accuracy"`, the output of
            `serialize`, or a `keras.metrics.Metric`, which is returned
            unchanged.

    Returns:
        A `keras.metrics.Metric`.

    Raises:
        ValueError: If the name is unknown. The message lists the known names.
        TypeError: If `identifier` is not a metric.

    Example:

    >>> keras_lip.metrics.get("mean_certified_radius").name
    'mean_certified_radius'
    """
    return find_object(
        identifier, BY_NAME, keras.metrics.Metric, "metric", "metrics"
    )


def register_tuner_objectives() -> None:
    """Registers the metrics' direction "max" with keras-tuner, if installed.

    keras-tuner infers the direction of `objective="val_certified_accuracy"`
    from a list of names. It has no other way to register a metric that is not
    from Keras. `keras_tuner.Objective("val_certified_accuracy", "max")` works
    without the list.
    """
    if importlib.util.find_spec("keras_tuner") is None:
        return
    try:
        from keras_tuner.src.engine import metrics_tracking

        known = metrics_tracking._MAX_METRIC_FNS
    except (ImportError, AttributeError):
        # Other releases of keras-tuner require an explicit direction.
        return
    metrics_tracking._MAX_METRIC_FNS = tuple(dict.fromkeys((*known, *BY_NAME)))
