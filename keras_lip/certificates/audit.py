"""Proves a Lipschitz bound for every layer of a model."""

import math
import weakref
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from keras_lip.bounds.common_norm import common_norm
from keras_lip.bounds.largest_stretch import largest_stretch
from keras_lip.certificates.pair_bounds import PairBounds
from keras_lip.certificates.pair_bounds import bound_pairs
from keras_lip.certificates.reports.audit_report import AuditedLayer
from keras_lip.certificates.reports.audit_report import AuditReport
from keras_lip.program import Program
from keras_lip.program import freeze
from keras_lip.program.bounding import ProgramBounds
from keras_lip.program.step import Origin
from keras_lip.progress import Verbose
from keras_lip.progress import check_verbose
from keras_lip.progress import track
from keras_lip.proofs.method_notes import CLAIMED
from keras_lip.proofs.norms import check_norm
from keras_lip.proofs.rounding import divide_up
from keras_lip.types import Shape
from keras_lip.validation import check_positive_integer

# Relative rounding error of an estimate in float64.
_TOLERANCE = 1e-9

# Replaces sizes that are unknown when the model is built.
_UNKNOWN_SIZE = 16

# Distance of the compared inputs, and a bound on the rounding errors of a layer
# in float64: thousands of units in the last place.
_LENGTH = 1e-1
_EPSILON = 2.0**-40

# The audits that this process has proven, by identity. An audit that was read
# from a file or put together by hand is not one of them.
_proven: weakref.WeakValueDictionary[int, AuditReport] = (
    weakref.WeakValueDictionary()
)


def audit(
    model: keras.Model,
    norm: str | None = None,
    steps: int | None = 10,
    input_shape: Shape | None = None,
    verbose: Verbose = "auto",
) -> AuditReport:
    """Proves a Lipschitz bound for every layer of a model, and tests it.

    The model is frozen: its operations and weights at inference are read once.
    The bound of every layer, including preprocessing, is computed in float64
    and rounded up. The bounds are combined along the graph. Each bound is
    compared with a lower estimate, which comes from running the layer in
    float64 and does not depend on the proof. A bound below its estimate is a
    bug in this library, or a false claim of a user about a layer, and raises an
    error. Bounds that users have claimed, by `propagate_bound.register` or a
    method `lipschitz_bound`, are not proven, and the audit says so.

    Args:
        model: A built model with one input and one output.
        norm: `"l2"` or `"linf"`. Defaults to `None`, for the norm in which all
            layers have a bound, or l2 if they have bounds in both.
        steps: Positive integer, or `None`. Number of optimization steps of each
            estimate; `None` skips the estimates. Defaults to `10`.
        input_shape: Tuple. Shape of the inputs, for a model with unknown sizes.
            Defaults to `None`, for bounds that hold for inputs of any size.
        verbose: 1 to draw a progress bar, 0 to draw nothing. Defaults to
            `"auto"`, to draw it in terminals and notebooks.

    Returns:
        An `AuditReport`. It prints as a table of layers and has a method
        `to_json()`. `certify(..., audit=report)` reuses it as long as the model
        has not changed.

    Raises:
        TypeError: If `model` is not a `keras.Model`.
        ValueError: If the model is not built, has several inputs or outputs,
            contains a layer without a known bound, or mixes norms; if
            `input_shape` is not a shape, or does not fit the model.
        RuntimeError: If a bound is smaller than an estimate.

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
    verbose = check_verbose(verbose)
    shape = _check_input_shape(input_shape)
    program = freeze(model, shape)
    return audit_program(
        program, common_norm(model, norm), model.name, steps, verbose
    )


def audit_program(
    program: Program,
    norm: str,
    name: str,
    steps: int | None,
    verbose: Verbose = 0,
) -> AuditReport:
    """Proves a bound for every layer that a program was read from.

    Args:
        program: The `Program`.
        norm: `"l2"` or `"linf"`.
        name: Name of the model.
        steps: Positive integer or `None`, as in `audit`.
        verbose: `"auto"`, 0 or 1, as in `audit`. Defaults to 0.

    Returns:
        An `AuditReport`.

    Raises:
        RuntimeError: If a bound is smaller than an estimate.
    """
    bounds = program.bounds(norm, verbose=verbose)
    constants = [
        _constant(program, bounds, origin) for origin in program.origins
    ]
    magnitude = sum(abs(_logarithm(constant)) for constant in constants)
    report = AuditReport(
        model_name=name,
        norm=norm,
        lipschitz_bound=bounds.output,
        layers=tuple(
            _describe(program, bounds, number, constant, magnitude, steps)
            for number, constant in track(
                enumerate(constants),
                verbose if steps is not None else 0,
                "layer",
                len(constants),
            )
        ),
        input_shape=program.input_shapes[0] or (),
        sha256=program.digest,
        pair_bounds=_find_pairs(program, bounds),
    )
    _proven[id(report)] = report
    return report


def match_audit(
    audit: AuditReport, program: Program, model: keras.Model
) -> AuditReport:
    """Returns an audit of a program whose numbers this process has proven.

    Args:
        audit: An `AuditReport`. If it was read from a file, or copied, only its
            norm is used, and the bounds are proven now.
        program: The `Program` of a model.
        model: The model.

    Raises:
        ValueError: If the audit is of another program, or its norm is unknown.
    """
    if program.digest != audit.sha256:
        raise ValueError(
            f"The audit is of another model than '{model.name}', or of other "
            f"weights: audit it again. Received: an audit of {audit.sha256}, a "
            f"model of {program.digest}"
        )
    if _proven.get(id(audit)) is audit:
        return audit
    return audit_program(program, check_norm(audit.norm), model.name, None)


def _check_input_shape(shape: Any) -> Shape | None:
    """Returns a shape with a batch axis, or `None`."""
    if shape is None:
        return None
    try:
        sizes = tuple(shape)
        for size in sizes:
            if size is not None:
                check_positive_integer("input_shape", size)
    except (TypeError, ValueError):
        raise ValueError(
            "`input_shape` must be a tuple of positive integers, or `None` for "
            "sizes that are unknown, without the batch axis. Received: "
            f"input_shape={shape!r}"
        ) from None
    return (None, *sizes)


def _describe(
    program: Program,
    bounds: ProgramBounds,
    number: int,
    constant: float,
    magnitude: float,
    steps: int | None,
) -> AuditedLayer:
    origin = program.origins[number]
    methods = {
        method: None
        for index, step in enumerate(program.steps, start=program.num_inputs)
        if step.origin == number
        for method in bounds.methods[index]
    }
    estimate = None
    if steps is not None:
        estimate = _estimate(program, origin, steps, bounds.norm)
    if estimate is not None and estimate > constant * (1 + _TOLERANCE):
        raise RuntimeError(
            f"Layer '{origin.name}' of type `{origin.kind}` stretches a "
            f"distance by {estimate!r}, more than the bound {constant!r} "
            f"({', '.join(methods) or 'theorem'}). {_blame(methods)}"
        )
    return AuditedLayer(
        name=origin.name,
        kind=origin.kind,
        guarantee=origin.guarantee,
        bound=constant,
        method=", ".join(methods) or "theorem",
        estimate=estimate,
        share=_logarithm(constant) / magnitude if magnitude > 0 else 0.0,
        total=bounds.values[origin.output],
    )


def _blame(methods: Iterable[str]) -> str:
    if CLAIMED in methods:
        return (
            "The claim of the user is false: correct the registered rule, or "
            "the method `lipschitz_bound` of the layer."
        )
    return "This is a bug in the bound: do not rely on it, and report it."


def _constant(program: Program, bounds: ProgramBounds, origin: Origin) -> float:
    """Returns the bound of a layer alone, if it has one input.

    In a model its output may have a smaller bound than the product of this
    bound and that of its input, because bounds of parts of a tensor are joined
    across layers. For a layer of several inputs it is the factor by which
    bounds grow.
    """
    output = bounds.values[origin.output]
    inputs = max((bounds.values[i] for i in origin.inputs), default=1.0)
    grown = divide_up(output, inputs) if output > 0 or inputs > 0 else 0.0
    part = _part(program, origin)
    if part is None:
        return grown
    # A quotient that is no number is not larger.
    return max(part.bounds(bounds.norm).output, grown)


def _part(program: Program, origin: Origin) -> Program | None:
    """Returns the program of a layer, if it has one input."""
    if len(set(origin.inputs)) != 1:
        return None
    return program.part(origin.inputs[0], origin.output)


def _logarithm(constant: float) -> float:
    return math.log(constant) if 0 < constant < math.inf else 0.0


def _estimate(
    program: Program, origin: Origin, steps: int, norm: str
) -> float | None:
    """Returns a lower estimate of a layer's Lipschitz constant.

    The layer runs in float64 on random pairs of inputs, which gradient ascent
    moves to increase the distance of the outputs. The estimate uses no part of
    the proof, so an estimate above the bound reveals a bug in one of them.

    Returns:
        Float, or `None` if the layer has several inputs, or only its bound is
        known.
    """
    part = _part(program, origin)
    if part is None:
        return None
    shape = program.shape_of(origin.inputs[0])
    if shape is None:
        return None
    sizes = [size or _UNKNOWN_SIZE for size in shape]
    points, directions = np.random.default_rng(0).normal(size=(2, 2, *sizes))
    try:
        found = largest_stretch(
            part.run,
            lambda x, weights: part.gradient(weights, x)[0],
            points,
            directions,
            _LENGTH,
            steps,
            norm,
            _EPSILON,
        )
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def _find_pairs(program: Program, bounds: ProgramBounds) -> PairBounds | None:
    try:
        return bound_pairs(program, bounds)
    except ValueError:
        return None
