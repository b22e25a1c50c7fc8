"""The losses and metrics that a model is compiled with."""

import inspect
from collections import Counter
from collections.abc import Iterator
from typing import Any

import keras

from keras_lip.losses.registry import BY_NAME as LOSSES
from keras_lip.metrics.certified_metric import CertifiedMetric
from keras_lip.metrics.registry import BY_NAME as METRICS

# Keras interprets these names according to the shape of the labels.
_OF_KERAS = ("accuracy", "acc", "crossentropy", "ce")


def read_losses(loss: Any) -> Any:
    """Replaces this library's names in the argument `loss` of `compile`.

    Raises:
        ValueError: If a name is unknown to this library and to Keras.
    """
    return keras.tree.map_structure(
        lambda each: _look_up("loss", each, LOSSES, keras.losses), loss
    )


def read_metrics(given: Any) -> Any:
    """Replaces this library's names in the argument `metrics` of `compile`.

    Keras keeps one value for each name. Metrics with the same name therefore
    get their epsilon added to it, and also their norm if the names are still
    equal.

    Raises:
        ValueError: If two certified metrics of one output still have the same
            name, or a name is unknown to this library and to Keras.
    """
    found = keras.tree.map_structure(
        lambda each: _look_up("metric", each, METRICS, keras.metrics), given
    )
    for listed in _find_lists(found):
        certified = [m for m in listed if isinstance(m, CertifiedMetric)]
        _name_apart(certified)
        names = Counter(metric.name for metric in certified)
        for name, count in names.items():
            if count > 1:
                raise ValueError(
                    f"{count} metrics of a model are named {name!r}, and Keras "
                    "reports only the last one. Pass each a different `name`."
                )
    return found


def _look_up(kind: str, given: Any, own: dict[str, Any], stock: Any) -> Any:
    """Returns this library's loss or metric of that name, or `given` itself."""
    if not isinstance(given, str):
        return given
    if given in own:
        return own[given]()
    try:
        known = given in _OF_KERAS or stock.get(given) is not None
    except ValueError:
        known = False
    if not known:
        raise ValueError(
            f"Unknown {kind}: {given!r}. The names of `keras_lip` are: "
            f"{', '.join(map(repr, sorted(own)))}. The names of Keras are also "
            "accepted."
        )
    return given


def pair_with_outputs(model: keras.Model, given: Any) -> dict[int, list[Any]]:
    """Splits an argument of `compile` by the outputs of a model.

    Args:
        model: The model.
        given: The argument `loss` or `metrics`, or the labels: for all outputs,
            by position, or by name.

    Returns:
        Dict from the index of an output, in the order of `keras.tree.flatten`,
        to the list of its losses, metrics or labels.
    """
    names = _name_outputs(model)
    if len(names) == 1:
        return {0: keras.tree.flatten(given)}
    if isinstance(given, dict):
        # Keras rejects other names when it builds the losses and metrics.
        parts = [(names.index(n), given[n]) for n in given if n in names]
    elif isinstance(given, list | tuple) and len(given) == len(names):
        parts = list(enumerate(given))
    else:
        parts = [(index, given) for index in range(len(names))]
    return {index: keras.tree.flatten(part) for index, part in parts}


def _name_outputs(model: keras.Model) -> list[str]:
    """Returns the names of outputs, in the order of `keras.tree.flatten`."""
    if not isinstance(model, keras.Function):
        return [""]
    names = model.output_names
    outputs = model._outputs_struct
    if isinstance(outputs, dict) and len(outputs) == len(names):
        order = keras.tree.pack_sequence_as(outputs, range(len(outputs)))
        return sorted(outputs, key=order.__getitem__)
    return list(names)


def _find_lists(given: Any) -> Iterator[list[Any]]:
    """Yields the lists of metrics of each output."""
    parts = list(given.values()) if isinstance(given, dict) else [given]
    for part in parts:
        if not isinstance(part, list | tuple):
            continue
        nested = [list(each) for each in part if isinstance(each, list | tuple)]
        yield from nested or [list(part)]


def _name_apart(certified: list[CertifiedMetric]) -> None:
    unnamed = [
        metric
        for metric in certified
        if metric.name == _parameters(metric)["name"].default
    ]
    for attribute in ("epsilon", "norm"):
        names = Counter(metric.name for metric in certified)
        for metric in unnamed:
            value = getattr(metric, attribute, None)
            if names[metric.name] > 1 and value is not None:
                text = value if isinstance(value, str) else f"{value:.4g}"
                metric.name = f"{metric.name}_{text}"


def _parameters(metric: CertifiedMetric) -> Any:
    return inspect.signature(type(metric)).parameters
