"""Certified metrics as objectives of keras-tuner."""

import importlib.util

from keras_lip.metrics.registry import BY_NAME


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
