"""Audit of a model, layer by layer."""

import math
from typing import Any

import keras

from keras_lip.bounds.bound import Bound
from keras_lip.bounds.lipschitz_bound import output_bound
from keras_lip.bounds.rounding import divide_up
from keras_lip.certificates.audit_report import AuditedLayer
from keras_lip.certificates.audit_report import AuditReport
from keras_lip.certificates.fingerprint import fingerprint
from keras_lip.certificates.layer_estimate import layer_estimate
from keras_lip.certificates.pair_bounds import PairBounds
from keras_lip.certificates.pair_bounds import bound_pairs
from keras_lip.layers.lipschitz_layer import LipschitzLayer
from keras_lip.validation import check_positive_integer

# What rounding in float64 may add to an estimate.
_TOLERANCE = 1e-9


def audit(
    model: keras.Model,
    norm: str | None = None,
    steps: int | None = 10,
) -> AuditReport:
    """Proves a bound for every layer of a model, and checks each from below.

    Every layer, preprocessing included, is measured on the weights that now
    run, in float64 and rounded up, and the bounds are joined as the graph joins
    the layers. Beside each bound stands an estimate from below, which comes
    from running the layer in float64 and uses nothing of the proof. A bound
    below an estimate would be a mistake of this library: it is raised.

    Args:
        model: A built model with one input and one output.
        norm: `"l2"` or `"linf"`. Defaults to the norm that the guarantees of
            all layers hold in, l2 where they hold in both.
        steps: Positive integer. Steps of each estimate; `None` for none.

    Returns:
        An `AuditReport`: printed, a table of layers; `to_json()`; and for
        `certify(..., audit=report)`, which uses it as long as the model is the
        one that was audited.

    Raises:
        TypeError: If `model` is not a `keras.Model`.
        ValueError: If the model is not built, has several inputs or outputs,
            holds a layer for which no bound is known, or mixes norms.
        RuntimeError: If a bound lies below an estimate.

    Example:

    >>> model = keras.Sequential(
    ...     [keras.Input((2,)), keras_lip.layers.OrthogonalDense(2)]
    ... )
    >>> report = keras_lip.certificates.audit(model)
    >>> report.layers[0].kind, report.layers[0].guarantee
    ('OrthogonalDense', 'orthogonal')
    """
    if steps is not None:
        steps = check_positive_integer("steps", steps)
    return report_audit(model, output_bound(model, norm), steps)


def report_audit(
    model: keras.Model, output: Bound, steps: int | None
) -> AuditReport:
    """Reports the bounds that a model's output came through.

    Args:
        model: The model, as it was bounded.
        output: The bound of its output.
        steps: Positive integer or `None`, as in `audit`.

    Returns:
        An `AuditReport`.

    Raises:
        RuntimeError: If a bound lies below an estimate.
    """
    nodes = _order(output)
    magnitude = sum(abs(_logarithm(node)) for node in nodes)
    return AuditReport(
        model_name=model.name,
        norm=output.norm,
        lipschitz_bound=float(output),
        layers=tuple(_describe(node, magnitude, steps) for node in nodes),
        sha256=fingerprint(model),
        pair_bounds=_find_pairs(output),
    )


def _order(output: Bound) -> list[Bound]:
    """Returns the bounds that an output depends on, each after its inputs."""
    ordered: list[Bound] = []
    seen: set[int] = set()
    # Without recursion: a model may have thousands of layers.
    stack = [(output, False)]
    while stack:
        bound, ready = stack.pop()
        if ready:
            ordered.append(bound)
        elif id(bound) not in seen and bound.layer is not None:
            seen.add(id(bound))
            stack.append((bound, True))
            stack += [(value, False) for value in reversed(bound.inputs)]
    return ordered


def _describe(
    bound: Bound, magnitude: float, steps: int | None
) -> AuditedLayer:
    layer = bound.layer
    constant = _constant(bound)
    estimate = None if steps is None else layer_estimate(bound, steps)
    if estimate is not None and estimate > constant * (1 + _TOLERANCE):
        raise RuntimeError(
            f"Layer '{layer.name}' of type `{type(layer).__name__}` stretches "
            f"a distance by {estimate!r}, more than the bound {constant!r} "
            f"({', '.join(bound.methods) or 'theorem'}). This is a mistake in "
            "the bound: do not rely on it, and report it."
        )
    ours = isinstance(layer, LipschitzLayer)
    return AuditedLayer(
        name=layer.name,
        kind=type(layer).__name__,
        guarantee=layer.guarantee if ours else "none",
        bound=constant,
        method=", ".join(bound.methods) or "theorem",
        estimate=estimate,
        share=_logarithm(bound) / magnitude if magnitude > 0 else 0.0,
        total=float(bound),
    )


def _constant(bound: Bound) -> float:
    """Returns the factor by which bounds grow in a layer."""
    inputs = max(bound.inputs, default=1.0)
    return 0.0 if bound == inputs == 0 else divide_up(bound, inputs)


def _logarithm(bound: Bound) -> float:
    constant = _constant(bound)
    return math.log(constant) if 0 < constant < math.inf else 0.0


def _find_pairs(output: Bound) -> PairBounds | Any:
    try:
        return bound_pairs(output)
    except ValueError:
        return None
