"""Tests the claims of a report on perturbed inputs."""

import numpy as np

from keras_lip.certificates.attacks.attacked_model import AttackedModel
from keras_lip.certificates.attacks.falsified_certificate import (
    FalsifiedCertificate,
)
from keras_lip.certificates.attacks.perturbation_ball import PerturbationBall
from keras_lip.certificates.margins import predict_labels
from keras_lip.certificates.reports.certification_report import (
    CertificationReport,
)
from keras_lip.types import Array

# The search for a changed prediction beyond a radius.
_DOUBLINGS = 6
_BISECTIONS = 12

# Relative error of a distance computed in float64.
_TOLERANCE = 1e-12


class CertifiedClaims:
    """Checks points against the certificates of a batch, in float64.

    A point falsifies a certificate if it is closer than the radius and the
    model certainly predicts another class there, or abstains: the margin is
    negative by more than the error of its evaluation.

    Args:
        model: The model.
        ball: Balls to attack in, slightly smaller than the certified ones.
        report: The report.
        part: The samples of the report that are in the batch.
    """

    def __init__(
        self,
        model: AttackedModel,
        ball: PerturbationBall,
        report: CertificationReport,
        part: slice,
    ) -> None:
        self._model = model
        self._ball = ball
        self._report = report
        self._start = part.start
        self._radius = report.radius[part]
        self._label = report.prediction[part]
        self._least = np.full(len(self._radius), np.inf)
        self._worst = ball.center
        self.nearest = np.inf

    def check(self, points: Array) -> Array:
        """Looks for counterexamples among points at any distance.

        Args:
            points: Array of one point for each sample.

        Returns:
            Boolean array. `True` where the model predicts another class or
            abstains.

        Raises:
            FalsifiedCertificate: If one of them is within the radius.
        """
        finite = np.isfinite(points.reshape(len(points), -1)).all(axis=1)
        finite = finite.reshape(-1, *[1] * (points.ndim - 1))
        points = np.where(finite, points, self._ball.center)
        logits, errors = self._model.evaluate(points)
        surplus = least_margins(logits, self._label)
        surplus = surplus - self._report.abstain_below
        changed = (surplus < -errors) & (self._radius > 0)
        distances = self._ball.distances(points)
        within = distances < self._radius * (1 - _TOLERANCE)
        if np.any(changed & within):
            index = int(np.argmax(changed & within))
            self._raise(index, points[index], distances[index], logits[index])
        ratios = distances[changed] / self._radius[changed]
        self.nearest = min(self.nearest, float(np.min(ratios, initial=np.inf)))
        self._remember(points, np.where(within, surplus, np.inf))
        return changed

    def check_within(self, points: Array) -> None:
        """Looks for counterexamples at points and at their projections.

        Args:
            points: Array of points that may be outside the balls.

        Raises:
            FalsifiedCertificate: If there is one.
        """
        self.check(points)
        self.check(self._ball.project(points))

    def walk_out(self) -> None:
        """Finds how far predictions hold in the directions of the worst points.

        Raises:
            FalsifiedCertificate: If a prediction changes within the radius.
        """
        steps = self._worst - self._ball.center
        low = np.ones(len(steps))
        high = np.full(len(steps), np.inf)
        for power in range(_DOUBLINGS + 1):
            factors = np.full(len(steps), 2.0**power)
            changed = self.check(self._ball.scale(steps, factors))
            high = np.where(changed, np.minimum(high, factors), high)
            low = np.where(high < np.inf, low, factors)
        high = np.minimum(high, 2.0**_DOUBLINGS)
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            changed = self.check(self._ball.scale(steps, middle))
            low = np.where(changed, low, middle)
            high = np.where(changed, middle, high)

    def _remember(self, points: Array, surplus: Array) -> None:
        worse = surplus < self._least
        self._least = np.where(worse, surplus, self._least)
        worse = worse.reshape(-1, *[1] * (points.ndim - 1))
        self._worst = np.where(worse, points, self._worst)

    def _raise(
        self, index: int, point: Array, distance: float, logits: Array
    ) -> None:
        label, radius = int(self._label[index]), float(self._radius[index])
        found: int | None = int(predict_labels(logits[None])[0])
        found = None if found == label else found
        answer = "no answer" if found is None else f"class {found}"
        raise FalsifiedCertificate(
            f"The certificate of sample {self._start + index} is false: class "
            f"{label} is certified within {radius!r}, and the model gives "
            f"{answer} at a distance of {float(distance)!r}. Do not rely on "
            "the report, and report this bug with the counterexample of this "
            "error.",
            self._start + index,
            point,
            float(distance),
            radius,
            label,
            found,
        )


def least_margins(logits: Array, labels: Array) -> Array:
    """Returns the margins of given classes over the best other class.

    Args:
        logits: Array of shape `(num_samples, classes)`, or `(num_samples, 1)`.
        labels: Integer array of shape `(num_samples,)`.

    Returns:
        Array of shape `(num_samples,)`. Negative where another class has a
        larger logit.
    """
    if logits.shape[1] == 1:
        return logits[:, 0] * (2.0 * labels - 1.0)
    own = np.take_along_axis(logits, labels[:, None], axis=1)[:, 0]
    rivals = np.arange(logits.shape[1]) != labels[:, None]
    return own - np.where(rivals, logits, -np.inf).max(axis=1)
