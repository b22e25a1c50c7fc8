"""Tries to disprove a certification by attacks."""

import math
from typing import Any
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from keras_lip.certificates.attacks.attacked_model import AttackedModel
from keras_lip.certificates.attacks.certified_claims import CertifiedClaims
from keras_lip.certificates.attacks.falsified_certificate import (
    FalsifiedCertificate,
)
from keras_lip.certificates.attacks.foolbox_attacks import make_attacks
from keras_lip.certificates.attacks.foolbox_attacks import to_foolbox_model
from keras_lip.certificates.attacks.foolbox_attacks import to_native
from keras_lip.certificates.attacks.margin_ascent import ascend_margins
from keras_lip.certificates.attacks.perturbation_ball import PerturbationBall
from keras_lip.certificates.attacks.perturbation_ball import batch_norms
from keras_lip.certificates.reports.certification_report import (
    CertificationReport,
)
from keras_lip.certificates.reports.match_report import check_data
from keras_lip.certificates.reports.match_report import check_length
from keras_lip.certificates.reports.match_report import check_model
from keras_lip.data import check_bounds
from keras_lip.data import check_inside
from keras_lip.data import iterate_batches
from keras_lip.live_model import LiveModel
from keras_lip.types import Array
from keras_lip.validation import check_positive_integer

# Attacks use radii that are smaller by this factor.
_INSIDE = 1 - 1e-6

# Attacks go at most this many times the sample's size away. Beyond that,
# float64 has no digits left for the margin.
_FARTHEST = 1e6

# The search for stretched pairs: the distance of a pair, the number of steps,
# and the relative rounding error of an estimate.
_LENGTHS = (1e-1, 1e1)
_STRETCH_STEPS = 10
_TOLERANCE = 1e-9

# foolbox requires bounds on inputs. These are the float32 limits.
_UNBOUNDED = (-3e38, 3e38)


class FalsificationSummary(NamedTuple):
    """Results of unsuccessful attacks on a certification.

    Attributes:
        num_attacked: Integer. Number of attacked samples, which are the samples
            with a positive radius. Radii that are so small that float64 knows
            no other point within them are not counted.
        nearest: Float. The smallest distance at which an attack changed a
            prediction, divided by the certified radius. It is above one, and
            infinite if no attack succeeded. The gap to one is due to a loose
            certificate or to weak attacks.
        stretch: Float. The largest measured stretch of a distance.
        lipschitz_bound: Float. The proven bound, which is at least `stretch`.
        attacks: Tuple of strings. Names of the attacks.
    """

    num_attacked: int
    nearest: float
    stretch: float
    lipschitz_bound: float
    attacks: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"{self.num_attacked} certified samples attacked by "
            f"{', '.join(self.attacks)}: none falsified\nNearest change of a "
            f"prediction: {self.nearest:.6g} times the certified "
            f"radius\nLargest stretch measured: {self.stretch:.6g}, bound: "
            f"{self.lipschitz_bound:.6g}"
        )


def falsify(
    model: keras.Model,
    x: Any,
    y: Any,
    report: CertificationReport,
    bounds: tuple[float, float] | None = None,
    attacks: bool = True,
    steps: int = 20,
    batch_size: int = 256,
) -> FalsificationSummary:
    """Attacks a certification, and raises an error if an attack succeeds.

    Every sample with a positive radius is attacked within that radius, by
    gradient ascent on its margins in float64 and by attacks of foolbox. The
    results of foolbox are evaluated again in float64, and projected into the
    radius if they are outside. If the model abstains below a margin, the
    attacks also try to make it abstain. Finally, the function searches for
    pairs of inputs that violate the model's Lipschitz bound.

    A successful attack reveals a bug in this library or in the software and
    hardware below it. Unsuccessful attacks prove nothing: they cannot detect a
    Lipschitz constant that is a few percent too small. Only the certificate is
    a proof.

    Args:
        model: The classifier that was certified.
        x: The inputs of the certification, in the same order: an array, or an
            iterable of batches `inputs` or `(inputs, labels)`.
        y: Array of labels, or `None`. Correct and wrong predictions are
            attacked alike. The labels are only used to check that the data
            match the report.
        report: The `CertificationReport` that `keras_lip.certificates.certify`
            returned.
        bounds: Pair of floats, or `None`. Smallest and largest value of an
            input entry. Attacks stay within these values. Defaults to `None`,
            for no limits.
        attacks: Boolean. Whether to run the attacks of foolbox: projected
            gradient descent and DeepFool, with DDN in l2 and the fast gradient
            method in l-infinity. Defaults to `True`.
        steps: Positive integer. Steps of each attack. Defaults to `20`.
        batch_size: Positive integer. Number of samples attacked at a time.
            Defaults to `256`.

    Returns:
        A `FalsificationSummary`: the number of attacked samples, and how close
        the attacks came.

    Raises:
        FalsifiedCertificate: If a certificate is false. The error contains the
            counterexample.
        ImportError: If the extra `attacks` is not installed.
        TypeError: If `report` is not a `CertificationReport`.
        ValueError: If the report is of another model, of other weights or of
            other data, or an input is outside `bounds`.

    Example:

    >>> model = keras.Sequential(
    ...     [keras.Input((2,)), keras_lip.layers.UnitNormDense(3)]
    ... )
    >>> x, y = np.eye(2), [0, 1]
    >>> report = keras_lip.certificates.certify(model, x, y)
    >>> summary = keras_lip.certificates.falsify(
    ...     model, x, y, report, attacks=False
    ... )
    >>> summary.nearest >= 1.0
    True

    Reference:

    - [Rauber et al., 2020](https://doi.org/10.21105/joss.02607), foolbox
    """
    program = check_model(report, model)
    bounds = None if bounds is None else check_bounds(bounds)
    steps = check_positive_integer("steps", steps)
    batch_size = check_positive_integer("batch_size", batch_size)
    attacked = AttackedModel(LiveModel(model), program)
    target = to_foolbox_model(model, bounds or _UNBOUNDED) if attacks else None
    nearest, stretch, start, number = math.inf, 0.0, 0, 0
    for inputs, labels in iterate_batches(model, x, y, batch_size):
        center = inputs.astype("float64")
        part = slice(start, start + len(inputs))
        check_data(report, part, attacked(center), labels)
        if bounds is not None:
            check_inside(center, bounds)
        ball = _make_ball(report, part, center, bounds)
        number += int(np.sum(ball.has_points()))
        found = _attack_batch(attacked, target, report, part, ball, steps)
        nearest = min(nearest, found)
        stretch = max(stretch, _check_stretch(attacked, report, center))
        start = part.stop
    check_length(report, start)
    return FalsificationSummary(
        number,
        nearest,
        stretch,
        report.lipschitz_bound,
        _name_attacks(report.norm, attacks),
    )


def _make_ball(
    report: CertificationReport,
    part: slice,
    center: Array,
    bounds: tuple[float, float] | None,
) -> PerturbationBall:
    farthest = _FARTHEST * (1 + batch_norms(center, report.norm))
    size = np.minimum(report.radius[part] * _INSIDE, farthest)
    return PerturbationBall(center, size, report.norm, bounds)


# Outputs that overflow have radius zero, so nothing is claimed for them.
@np.errstate(invalid="ignore", over="ignore")
def _attack_batch(
    model: AttackedModel,
    target: Any,
    report: CertificationReport,
    part: slice,
    ball: PerturbationBall,
    steps: int,
) -> float:
    """Returns the smallest share of a radius at which a prediction changes."""
    if not np.any(ball.radius > 0):
        return math.inf
    claims = CertifiedClaims(model, ball, report, part)
    labels = report.prediction[part]
    generator = np.random.default_rng(part.start)
    for points in ascend_margins(model, ball, labels, steps, generator):
        claims.check(points)
    claims.walk_out()
    if target is not None:
        _run_foolbox(target, claims, ball, labels, steps)
    return claims.nearest


def _run_foolbox(
    target: Any,
    claims: CertifiedClaims,
    ball: PerturbationBall,
    labels: Array,
    steps: int,
) -> None:
    native = to_native(ball.center, labels)
    sizes = ball.radius[ball.radius > 0]
    middle, largest = float(np.median(sizes)), float(np.max(sizes))
    attacks = make_attacks(ball.norm, steps, middle)
    found = []
    for attack in attacks.bounded.values():
        # foolbox takes one radius for all samples. Points are projected
        # afterwards.
        points, _, _ = attack(target, *native, epsilons=[middle, largest])
        found += points
    for attack in attacks.minimal.values():
        points, _, _ = attack(target, *native, epsilons=None)
        found.append(points)
    for points in found:
        points = np.asarray(ops.convert_to_numpy(points), dtype="float64")
        claims.check_within(points)


@np.errstate(invalid="ignore", over="ignore")
def _check_stretch(
    model: AttackedModel, report: CertificationReport, center: Array
) -> float:
    generator = np.random.default_rng(0)
    directions = np.asarray(generator.normal(size=center.shape))
    found = max(
        model.stretch(center, directions, length, _STRETCH_STEPS, report.norm)
        for length in _LENGTHS
    )
    if found > report.lipschitz_bound * (1 + _TOLERANCE):
        raise FalsifiedCertificate(
            f"The Lipschitz bound {report.lipschitz_bound!r} of the report is "
            f"false: the model stretches a distance by {found!r}. Do not rely "
            "on the report, and report this bug."
        )
    return found


def _name_attacks(norm: str, attacks: bool) -> tuple[str, ...]:
    # The others are not run.
    kinds = make_attacks(norm, 1)[:2] if attacks else ()
    theirs = (name for kind in kinds for name in kind)
    return "margin ascent", *theirs
