"""Converts logits to certified radii, in float64 and rounded down."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from keras_lip.types import Array

# Radii are at most this large, so that reports are valid JSON.
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
    """The margins of a batch, with bounds on their loss.

    At every input within `epsilon <= limit`, the margin of the predicted class
    over class `j` is at least `v_y - v_j - loss_j - rate_j * epsilon`, where
    `v` are the logits. For a single output, `|v|` replaces `v_y - v_j`.

    Attributes:
        logits: Float64 array of shape `(num_samples, classes)`, or
            `(num_samples, 1)` for a binary classifier of labels 0 and 1.
        loss: Array of that shape, or `(num_samples, 1)` for all classes. Loss
            of the margin due to rounding.
        rate: Array of either shape. Loss of the margin per unit of distance.
        limit: Array of shape `(num_samples,)`. Distances up to which nothing
            overflows.
    """

    logits: Array
    loss: Array
    rate: Array
    limit: Array

    def radii(self, threshold: float = 0.0) -> Array:
        """Returns radii within which the answers are proven constant.

        Args:
            threshold: Non-negative float. The classifier abstains if its margin
                is smaller.

        Returns:
            Float64 array of shape `(num_samples,)`, non-negative and finite. It
            is zero where logits tie or are not finite, and where the classifier
            abstains.
        """
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            safe = self._safe()
            if threshold > 0:
                safe = np.nextafter(safe - threshold, -np.inf)
            radii = np.nextafter(safe / self.rate, -np.inf)
        # The radius of a tie is zero, even if the rate is zero.
        radii = np.where(safe > 0, radii, 0.0)
        radii = np.where(self._others(), radii, np.inf).min(axis=1)
        radii = np.minimum(radii, self.limit)
        finite = np.isfinite(self.logits).all(axis=1) & ~np.isnan(radii)
        return np.where(finite, np.clip(radii, 0.0, _LARGEST), 0.0)

    def worst_margins(self, epsilons: Sequence[float]) -> Array:
        """Returns proven lower bounds on the margin within each distance.

        Args:
            epsilons: Non-negative distances.

        Returns:
            Float64 array of shape `(num_samples, num_epsilons)`. Zero where the
            margin may be negative or is unknown.
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
        """Returns lower bounds on the margins minus their loss."""
        if self.logits.shape[1] == 1:
            margins = np.abs(self.logits)
        else:
            labels = predict_labels(self.logits)[:, None]
            top = np.take_along_axis(self.logits, labels, axis=1)
            margins = np.nextafter(top - self.logits, -np.inf)
        return np.nextafter(margins - self.loss, -np.inf)

    def _others(self) -> Array:
        """Returns a mask of all margins except those of a class over itself."""
        classes = self.logits.shape[1]
        if classes == 1:
            return np.ones_like(self.logits, dtype=bool)
        labels = predict_labels(self.logits)[:, None]
        return np.arange(classes) != labels


def pair_margins(logits: Array, pair_bounds: Array, errors: Array) -> Margins:
    """Returns margins with the constants of pairs as their rates.

    Args:
        logits: Array of shape `(num_samples, classes)`, float64.
        pair_bounds: Array of shape `(classes, classes)`, the proven Lipschitz
            constants of the margins; for a single output `[[L]]`.
        errors: Array of shape `(num_samples,)`. Bounds on the errors of the
            margins.
    """
    rows = predict_labels(logits) if logits.shape[1] > 1 else [0] * len(logits)
    limit = np.full(len(logits), np.inf)
    return Margins(logits, errors[:, None], pair_bounds[rows], limit)
