"""From logits to certified radii, in float64 and rounded down."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from keras_lip.types import Array

# No certificate is infinite: reports stay valid JSON.
_LARGEST = np.finfo("float64").max


def predict_labels(logits: Array) -> Array:
    """Returns the predicted classes.

    Args:
        logits: Array of shape `(num_samples, classes)`, or
            `(num_samples, 1)` for a binary classifier of labels 0 and 1.

    Returns:
        Integer array of shape `(num_samples,)`.
    """
    if logits.shape[1] == 1:
        return (logits[:, 0] > 0).astype("int64")
    return np.argmax(logits, axis=1)


class Margins(NamedTuple):
    """The margins of a batch, and what may be lost of them.

    At every input within `epsilon <= limit`, the margin of the predicted class
    over class `j` is at least `v_y - v_j - loss_j - rate_j * epsilon`, for
    logits `v`; or, for a single output, `|v|` less the same.

    Attributes:
        logits: Float64 array of shape `(num_samples, classes)`, or
            `(num_samples, 1)` for a binary classifier of labels 0 and 1.
        loss: Array of that shape, or `(num_samples, 1)` for all classes. What
            roundings may take.
        rate: Array of either shape. How fast the margin may shrink.
        limit: Array of shape `(num_samples,)`. The distance up to which nothing
            overflows.
    """

    logits: Array
    loss: Array
    rate: Array
    limit: Array

    def radii(self, threshold: float = 0.0) -> Array:
        """Returns the radius within which the answer is proven constant.

        Args:
            threshold: Float, at least zero. Margin below which no answer is
                given.

        Returns:
            Array of shape `(num_samples,)`, float64, neither negative nor
            infinite. It is zero where logits tie or are not finite, and where
            no answer is given.
        """
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            safe = self._safe()
            if threshold > 0:
                safe = np.nextafter(safe - threshold, -np.inf)
            radii = np.nextafter(safe / self.rate, -np.inf)
        # A class that ties is at no distance, however slow it comes.
        radii = np.where(safe > 0, radii, 0.0)
        radii = np.where(self._others(), radii, np.inf).min(axis=1)
        radii = np.minimum(radii, self.limit)
        finite = np.isfinite(self.logits).all(axis=1) & ~np.isnan(radii)
        return np.where(finite, np.clip(radii, 0.0, _LARGEST), 0.0)

    def worst_margins(self, epsilons: Sequence[float]) -> Array:
        """Returns the least margin that is proven within each distance.

        Args:
            epsilons: Distances, at least zero.

        Returns:
            Array of shape `(num_samples, num_epsilons)`, float64, zero where
            the margin may be negative or is not known.
        """
        worst, finite = [], np.isfinite(self.logits).all(axis=1)
        for epsilon in epsilons:
            with np.errstate(invalid="ignore", over="ignore"):
                change = np.nextafter(epsilon * self.rate, np.inf)
                left = np.nextafter(self._safe() - change, -np.inf)
            left = np.where(self._others(), left, np.inf).min(axis=1)
            known = finite & np.isfinite(left) & (epsilon <= self.limit)
            worst.append(np.where(known, np.maximum(left, 0.0), 0.0))
        return np.stack(worst, axis=1)

    def _safe(self) -> Array:
        """Returns the margins less their loss, from below."""
        if self.logits.shape[1] == 1:
            margins = np.abs(self.logits)
        else:
            labels = predict_labels(self.logits)[:, None]
            top = np.take_along_axis(self.logits, labels, axis=1)
            margins = np.nextafter(top - self.logits, -np.inf)
        return np.nextafter(margins - self.loss, -np.inf)

    def _others(self) -> Array:
        """Returns which margins count: all but that of a class over itself."""
        classes = self.logits.shape[1]
        if classes == 1:
            return np.ones_like(self.logits, dtype=bool)
        labels = predict_labels(self.logits)[:, None]
        return np.arange(classes) != labels


def pair_margins(logits: Array, pair_bounds: Array, errors: Array) -> Margins:
    """Returns margins that shrink as fast as the constants of pairs allow.

    Args:
        logits: Array of shape `(num_samples, classes)`, float64.
        pair_bounds: Array of shape `(classes, classes)`, the proven Lipschitz
            constants of the margins; for a single output `[[L]]`.
        errors: Array of shape `(num_samples,)`. By how much a margin may be
            off.
    """
    rows = predict_labels(logits) if logits.shape[1] > 1 else [0] * len(logits)
    limit = np.full(len(logits), np.inf)
    return Margins(logits, errors[:, None], pair_bounds[rows], limit)
