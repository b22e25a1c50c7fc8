"""Checks that the values of a report agree with each other."""

from typing import Any

import numpy as np

from keras_lip.data import check_shard
from keras_lip.proofs.norms import check_norm
from keras_lip.types import Array
from keras_lip.validation import check_known
from keras_lip.validation import check_number
from keras_lip.validation import check_numbers
from keras_lip.validation import check_positive_integer

SEMANTICS = ("real", "float64", "float32")


def check_values(values: dict[str, Any]) -> None:
    """Raises an error if the values of a report cannot belong to one report.

    Args:
        values: Dict of the arguments of `CertificationReport`.

    Raises:
        ValueError: If an array is missing or has the wrong shape or dtype; if a
            number is NaN, negative or out of range; or if two of the values
            contradict each other.
    """
    check_norm(values["norm"])
    check_known("semantics", values["semantics"], SEMANTICS)
    check_numbers("epsilons", values["epsilons"], 0.0)
    check_number("abstain_below", values["abstain_below"], 0.0)
    for name in ("lipschitz_bound", "largest_pair_bound"):
        # NaN is no bound.
        if not values[name] >= 0:
            raise ValueError(f"`{name}` is {values[name]}")
    check_shard(values["shard"])
    _check_arrays(values)
    _check_batches(values)
    for title, measured in values["attacks"].items():
        for epsilon, accuracy in measured.items():
            check_number(f"epsilon of {title}", epsilon, 0.0)
            check_number(f"accuracy of {title}", accuracy, 0.0, 1.0)
    audit = values["audit"]
    if audit is not None:
        for name in ("norm", "lipschitz_bound"):
            ours, theirs = values[name], getattr(audit, name)
            if ours != theirs:
                raise ValueError(
                    f"`{name}` is {ours!r}, and that of the audit {theirs!r}"
                )


def _check_arrays(values: dict[str, Any]) -> None:
    for name in ("radius", "prediction", "label"):
        if values.get(name) is None:
            raise ValueError(f"it has no array `{name}`")
    number, logits = np.size(values["radius"]), values.get("logits")
    _check_array(values, "radius", "f", (number,))
    _check_array(
        values, "worst_margin", "f", (number, 1 + len(values["epsilons"]))
    )
    _check_array(values, "margin_error", "f", (number,))
    classes = np.inf
    if logits is not None:
        width = logits.shape[1] if logits.ndim == 2 else 1
        _check_array(values, "logits", "f", (number, width))
        classes = max(width, 2)
    for name in ("prediction", "label"):
        _check_array(values, name, "iu", (number,))
        if np.any(values[name] >= classes):
            raise ValueError(f"`{name}` contains more than {classes} classes")
    if number == 0:
        raise ValueError("it contains no samples")
    margins = values.get("worst_margin")
    if margins is None:
        if values["abstain_below"] > 0:
            raise ValueError(
                "an older version wrote it without the margins, so it does not "
                "say which samples are answered"
            )
        return
    order = np.argsort((0.0, *values["epsilons"]), kind="stable")
    ordered = margins[:, order]
    if np.any(ordered[:, 1:] > ordered[:, :-1]):
        raise ValueError("`worst_margin` grows with the radius")


def _check_array(
    values: dict[str, Any], name: str, kinds: str, shape: tuple[int, ...]
) -> None:
    array: Array | None = values.get(name)
    if array is None:
        return
    if array.dtype.kind not in kinds or array.shape != shape:
        raise ValueError(
            f"array `{name}` of shape {array.shape} and dtype {array.dtype}, "
            f"expected {shape}"
        )
    # Only logits may be negative, or NaN where nothing is certified.
    if name != "logits" and not np.all(array >= 0):
        raise ValueError(f"`{name}` contains NaN or negative numbers")


def _check_batches(values: dict[str, Any]) -> None:
    sizes, number = values["batch_sizes"], len(values["radius"])
    for name in ("batch_size", "num_total"):
        if values[name] is not None:
            check_positive_integer(name, values[name])
    if sizes is None:
        return
    for size in sizes:
        check_positive_integer("batch_sizes", size)
    if sum(sizes) != number:
        raise ValueError(f"`batch_sizes` is {sizes} for {number} samples")
