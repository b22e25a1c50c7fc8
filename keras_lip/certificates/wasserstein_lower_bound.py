"""A lower bound on a Wasserstein distance, by a critic and samples."""

import math
from typing import Any
from typing import NamedTuple

import keras
import numpy as np

from keras_lip.bounds.common_norm import common_norm
from keras_lip.certificates.certifier import check_precision
from keras_lip.certificates.claims import find_claims
from keras_lip.certificates.live_check import check_live
from keras_lip.certificates.reports.wasserstein_report import WassersteinReport
from keras_lip.data import Bounds
from keras_lip.data import check_bounds
from keras_lip.data import check_inside
from keras_lip.data import iterate_batches
from keras_lip.graph import check_model
from keras_lip.live_model import LiveModel
from keras_lip.program import Program
from keras_lip.program import freeze
from keras_lip.program import upward
from keras_lip.program.node import count_entries
from keras_lip.program.program import LIVE_MACHINE
from keras_lip.proofs.rounding import add_down
from keras_lip.proofs.rounding import add_up
from keras_lip.proofs.rounding import divide_down
from keras_lip.proofs.rounding import divide_up
from keras_lip.proofs.rounding import down
from keras_lip.proofs.rounding import inflate_up
from keras_lip.proofs.rounding import multiply_up
from keras_lip.proofs.rounding import sqrt_up
from keras_lip.proofs.rounding import up
from keras_lip.types import Array
from keras_lip.validation import check_number
from keras_lip.validation import check_positive_integer


def wasserstein_lower_bound(
    critic: keras.Model,
    x1: Any,
    x2: Any,
    confidence: float = 0.95,
    diameter: float | None = None,
    bounds: Bounds | None = None,
    batch_size: int = 256,
    norm: str | None = None,
) -> WassersteinReport:
    """Bounds the Wasserstein-1 distance of two distributions from below.

    For any function `f` with Lipschitz constant `L`, the distance of two
    distributions is at least `(E f(x1) - E f(x2)) / L`. `L` is the proven bound
    of the critic. The estimate replaces the expectations by means of samples.

    The lower bound subtracts the error of the means, and holds with probability
    `confidence` for any two distributions of bounded support. If two points of
    the support of a distribution are at most `diameter` apart, the values of
    `f` on it lie in an interval of length `R = L * diameter`. With `delta = 1 -
    confidence`, means of `n1` and `n2` values with standard deviations `s1` and
    `s2`, both of these bounds hold, and the better one is used:

    - Hoeffding's inequality: the difference of the means is at most `R
      sqrt(log(2 / delta) / 2 (1 / n1 + 1 / n2))` too large;
    - the empirical Bernstein inequality, once for each sample: the mean of `n`
      values is off by at most `s sqrt(2 log(8 / delta) / n) + 7 R log(8 /
      delta) / (3 (n - 1))`.

    The outputs of the critic are computed in float64, and all errors are
    rounded to the safe side.

    **The samples must be new to the critic**: independent draws from the two
    distributions that were used neither to train nor to choose the critic. A
    critic separates its own training data better than the distributions, and
    then neither the estimate nor the bound means anything.

    Args:
        critic: A built model with one input and one output of shape
            `(batch_size, 1)`. Its Lipschitz constant may be any number.
        x1: Array of samples of the distribution with the larger outputs, of
            shape `(num_samples, ...)`, at least two; or an iterable of batches,
            whose labels are ignored.
        x2: Samples of the other distribution, of the same shape.
        confidence: Float between 0 and 1, both excluded. Probability with which
            the bound holds. Defaults to `0.95`.
        diameter: Positive float. Bound on the distance, in `norm`, of two
            points of the support of one of the distributions. It must follow
            from what is known of them, not from samples. Defaults to `None`.
        bounds: Pair of the smallest and the largest value of an input entry in
            both supports, such as `(0, 1)`, instead of a `diameter`. Defaults
            to `None`. Without either there is no lower bound but zero.
        batch_size: Positive integer. Number of samples evaluated at a time.
            Defaults to `256`.
        norm: `"l2"` or `"linf"`. The distance between two inputs. Defaults to
            `None`, for the norm in which all layers of the critic have a bound,
            or l2 if they have bounds in both.

    Returns:
        A `WassersteinReport`.

    Raises:
        TypeError: If `critic` is not a `keras.Model`.
        ValueError: If the critic has several outputs, or a layer without a
            known bound, or computes in less than float32; if its bound is zero
            or infinite; if there are fewer than two samples, their shapes
            differ, or one is not finite; if both `diameter` and `bounds` are
            given, or samples contradict them; if `confidence` is out of range;
            if the outputs of the live critic differ from its program.

    Example:

    >>> critic = keras.Sequential(
    ...     [keras.Input((2,)), keras_lip.layers.UnitNormDense(1)]
    ... )
    >>> critic.set_weights([np.array([[1.0], [0.0]]), np.zeros(1)])
    >>> x1, x2 = np.tile([[1.0, 0.5]], (100, 1)), np.zeros((100, 2))
    >>> report = keras_lip.certificates.wasserstein_lower_bound(
    ...     critic, x1, x2, bounds=(0, 1)
    ... )
    >>> round(report.estimate, 3)
    1.0

    Reference:

    - [Villani, 2009](https://doi.org/10.1007/978-3-540-71050-9), Theorem 5.10,
      the Kantorovich-Rubinstein duality
    - [Li et al., 2019](https://arxiv.org/abs/1911.00937), equation (3), for the
      estimate by an orthogonal critic
    - [Hoeffding, 1963](https://doi.org/10.1080/01621459.1963.10500830), Theorem
      2
    - [Maurer & Pontil, 2009](https://arxiv.org/abs/0907.3740), Theorem 4
    """
    check_model(critic)
    confidence = _check_confidence(confidence)
    if diameter is not None and bounds is not None:
        raise ValueError(
            "Only one of `diameter` and `bounds` may be given. Received: "
            f"diameter={diameter!r}, bounds={bounds!r}"
        )
    if diameter is not None:
        diameter = check_number("diameter", diameter, 0.0, open_low=True)
    batch_size = check_positive_integer("batch_size", batch_size)
    samples = [
        _collect(critic, each, batch_size, name)
        for name, each in (("x1", x1), ("x2", x2))
    ]
    shape = samples[0][0].shape[1:]
    if samples[1][0].shape[1:] != shape:
        raise ValueError(
            "The samples of both distributions must have the same shape. "
            f"Received: {shape} and {samples[1][0].shape[1:]}"
        )
    if bounds is not None:
        bounds = check_bounds(bounds)
        for batch in (*samples[0], *samples[1]):
            check_inside(batch, bounds)

    live = LiveModel(critic)
    with live.hold():
        program = freeze(critic, (None, *shape))
    check_precision(program)
    norm = common_norm(critic, norm)
    bound, claims = _bound_critic(critic, program, norm)
    if bounds is not None:
        diameter = _box_diameter(bounds, math.prod(shape), norm)
    values = [_evaluate(program, live, each) for each in samples]
    length = None if diameter is None else multiply_up(bound, diameter)
    if length is not None:
        for name, each in zip(("x1", "x2"), values, strict=True):
            _check_range(name, each, length)
    first, second = values
    gap = first.mean - second.mean
    error = math.hypot(*(each.deviation / each.size**0.5 for each in values))
    lower = 0.0
    if length is not None:
        lower = divide_down(_lower_gap(values, length, confidence), bound)
    return WassersteinReport(
        estimate=gap / bound,
        standard_error=error / bound,
        # A distance is never negative.
        lower_bound=max(0.0, lower),
        confidence=confidence,
        lipschitz_bound=bound,
        diameter=diameter,
        num_samples=(first.size, second.size),
        norm=norm,
        claims=claims,
    )


class _Values(NamedTuple):
    """The outputs of the critic for a sample.

    Attributes:
        size: Integer. Number of samples.
        mean: Float. The mean, not a bound.
        deviation: Float. The standard deviation, not a bound.
        low: Float. Lower bound on the exact mean.
        high: Float. Upper bound on the exact mean.
        deviation_bound: Float. Upper bound on the exact standard deviation.
        spread: Float. Lower bound on the largest minus the smallest value.
    """

    size: int
    mean: float
    deviation: float
    low: float
    high: float
    deviation_bound: float
    spread: float


def _check_confidence(confidence: Any) -> float:
    confidence = check_number("confidence", confidence, 0.0, 1.0, open_low=True)
    if confidence == 1.0:
        raise ValueError(
            "`confidence` must be less than 1: no finite sample proves a bound "
            "with certainty. Received: confidence=1.0"
        )
    return confidence


def _collect(
    critic: keras.Model, x: Any, batch_size: int, name: str
) -> list[Array]:
    """Returns the batches of a sample."""
    batches = [each for each, _ in iterate_batches(critic, x, None, batch_size)]
    shapes = {each.shape[1:] for each in batches}
    if len(shapes) > 1:
        raise ValueError(
            f"All samples of `{name}` must have the same shape. Received: "
            f"{sorted(shapes)}"
        )
    number = sum(map(len, batches))
    if number < 2:
        raise ValueError(
            f"`{name}` must contain at least two samples. Received: {number}"
        )
    return batches


def _bound_critic(
    critic: keras.Model, program: Program, norm: str
) -> tuple[float, tuple[str, ...]]:
    """Returns the bound of the critic, and the layers that it trusts in."""
    shape = program.output_shape
    if shape is None or None in shape or count_entries(shape) != 1:
        found = (
            "several outputs, or one of unknown shape"
            if shape is None
            else f"output shape {(None, *shape)}"
        )
        raise ValueError(
            f"Critic '{critic.name}' must have one output, of shape "
            "`(batch_size, 1)`. Pass a model of one of its outputs, such as "
            "`keras.Model(critic.inputs, critic.outputs[0])`, or end it in "
            f"`keras_lip.layers.UnitNormDense(1)`. Received: {found}"
        )
    bounds = program.bounds(norm)
    bound = bounds.output
    if not 0 < bound < math.inf:
        raise ValueError(
            f"The Lipschitz bound of critic '{critic.name}' must be positive "
            f"and finite to divide by it. Received: a bound of {bound} in "
            f"{norm}"
        )
    return bound, find_claims(program, bounds)


def _box_diameter(bounds: Bounds, entries: int, norm: str) -> float:
    side = add_up(bounds[1], -bounds[0])
    return side if norm == "linf" else multiply_up(side, sqrt_up(entries))


def _evaluate(
    program: Program, live: LiveModel, batches: list[Array]
) -> _Values:
    values, errors, start = [], [], 0
    for batch in batches:
        (outputs,) = program.enclose(batch, LIVE_MACHINE)
        overflows = check_live(live, batch, outputs, start)
        start += len(batch)
        found = outputs.value.reshape(len(batch))
        if np.any(overflows) or not (
            np.isfinite(found).all() and np.isfinite(outputs.center).all()
        ):
            raise ValueError(
                "The outputs of the critic must be finite. Received: an output "
                "that overflows. Scale the samples, or use a critic with a "
                "smaller bound."
            )
        values.append(found)
        errors.append(outputs.center)
    return _summarize(np.concatenate(values), np.concatenate(errors))


def _summarize(values: Array, errors: Array) -> _Values:
    """Summarizes values, given the errors with which they were computed."""
    number = len(values)
    below = np.nextafter(values - errors, -np.inf)
    above = np.nextafter(values + errors, np.inf)
    # `fsum` rounds the exact sum once.
    mean = math.fsum(values) / number
    centered = values - mean
    # Of all constants, the mean gives the smallest sum of squares. So centering
    # with another number, as rounding does, only increases it, and each rounded
    # difference is off by at most one unit in the last place. The deviation is
    # a norm of the centered values, so errors of values add their own norm.
    moduli = np.nextafter(np.abs(centered), np.inf)
    norm = upward.sample_norms(moduli[None])[0]
    off = upward.sample_norms(errors[None])[0]
    root = sqrt_up(divide_up(1.0, number - 1))
    return _Values(
        size=number,
        mean=mean,
        deviation=float(np.std(values, ddof=1)),
        low=divide_down(down(math.fsum(below)), number),
        high=divide_up(up(math.fsum(above)), number),
        deviation_bound=multiply_up(root, add_up(norm, off)),
        spread=float(np.max(below) - np.min(above)),
    )


def _check_range(name: str, values: _Values, length: float) -> None:
    if down(values.spread) > length:
        raise ValueError(
            "Two points of the support of one distribution must be at most "
            f"`diameter` apart. The outputs of the critic for `{name}` prove a "
            f"larger distance: they differ by {values.spread:.6g}, and the "
            f"bound of the critic times `diameter` is {length:.6g}"
        )


def _lower_gap(
    values: list[_Values], length: float, confidence: float
) -> float:
    """Bounds `E f(x1) - E f(x2)` from below, with the given confidence.

    Either inequality may fail with half of the remaining probability, and the
    second one with a half of this for each sample.
    """
    delta = down(1.0 - confidence)
    first, second = values
    gap = add_down(first.low, -second.high)
    both = add_up(*(divide_up(1.0, each.size) for each in values))
    rate = divide_up(_log_up(divide_up(2.0, delta)), 2.0)
    hoeffding = multiply_up(length, sqrt_up(multiply_up(rate, both)))
    log = _log_up(divide_up(8.0, delta))
    bernstein = [
        add_up(
            multiply_up(
                each.deviation_bound,
                sqrt_up(divide_up(multiply_up(2.0, log), each.size)),
            ),
            divide_up(multiply_up(7.0, length, log), 3.0 * (each.size - 1)),
        )
        for each in values
    ]
    return add_down(gap, -min(hoeffding, add_up(*bernstein)))


def _log_up(x: float) -> float:
    """Bounds the logarithm of a number above two."""
    # The error of the C library is less than a few units in the last place.
    return inflate_up(math.log(x), 16)
