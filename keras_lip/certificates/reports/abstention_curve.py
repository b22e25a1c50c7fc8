"""What a classifier gives up by abstaining, and what it gains."""

from typing import NamedTuple

import numpy as np

from keras_lip.types import Array


class AbstentionCurve(NamedTuple):
    """Shares of samples against the margin below which no answer is given.

    Attributes:
        thresholds: Array of shape `(num_points,)`. Margins.
        coverage: Array of shape `(num_points,)`. Share of samples that are
            answered.
        accuracy: Array of shape `(num_points,)`. Share of the answered samples
            that are answered rightly; one where none is answered.
        certified_accuracy: Array of shape `(num_points,)`. Share of *all*
            samples whose right answer is proven to be given, at every input
            within the radius.
    """

    thresholds: Array
    coverage: Array
    accuracy: Array
    certified_accuracy: Array


def trace_abstention(
    correct: Array, margin: Array, worst_margin: Array, num_points: int
) -> AbstentionCurve:
    """Measures coverage and accuracy at evenly spaced thresholds.

    Args:
        correct: Boolean array of shape `(num_samples,)`.
        margin: Array of shape `(num_samples,)`. The margins of the samples.
        worst_margin: Array of shape `(num_samples,)`. The least margins that
            are proven within a radius, zero where none is.
        num_points: Integer. Number of thresholds, from zero to the largest
            margin.
    """
    thresholds = np.linspace(0.0, float(np.max(margin)), num_points)
    answered = margin >= thresholds[:, None]
    number = np.sum(answered, axis=1)
    right = np.sum(answered & correct, axis=1)
    kept = (worst_margin > 0) & (worst_margin >= thresholds[:, None]) & correct
    return AbstentionCurve(
        thresholds,
        number / len(margin),
        np.where(number > 0, right / np.maximum(number, 1), 1.0),
        np.mean(kept, axis=1),
    )
