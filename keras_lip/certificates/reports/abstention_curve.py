"""Coverage and accuracy of a classifier that abstains."""

from typing import NamedTuple

import numpy as np

from keras_lip.types import Array


class AbstentionCurve(NamedTuple):
    """Coverage and accuracies for several thresholds of abstention.

    Attributes:
        thresholds: Array of shape `(num_points,)`. Margins.
        coverage: Array of shape `(num_points,)`. Fraction of samples that are
            answered.
        accuracy: Array of shape `(num_points,)`. Fraction of the answered
            samples whose answer is correct, or one if no sample is answered.
        certified_accuracy: Array of shape `(num_points,)`. Fraction of *all*
            samples for which the correct answer is proven at every input within
            the radius.
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
        worst_margin: Array of shape `(num_samples,)`. Proven lower bounds on
            the margins within a radius, zero where nothing is proven.
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
