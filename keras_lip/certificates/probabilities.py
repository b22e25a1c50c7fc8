"""Bounds on the softmax probabilities of a classifier, by its margins."""

import math

import numpy as np

from keras_lip.certificates.margins import predict_labels
from keras_lip.proofs.rounding import add_up
from keras_lip.proofs.rounding import multiply_up
from keras_lip.types import Array

# Radii are at most this large, so that reports are valid JSON.
_LARGEST = float(np.finfo("float64").max)

# More than the relative error of an exponential or a logarithm.
_ACCURACY = 2.0**-48


def log_odds_bound(logits: Array, errors: Array, temperature: float) -> Array:
    """Bounds the log-odds of the predicted class from below.

    With margins `m_j` over the other classes, the log-odds `log(p / (1 - p))`
    of `softmax(temperature * logits)` are `-log sum exp(-temperature * m_j)`.
    For a single output `f` of a sigmoid they are `temperature * |f|`.

    Args:
        logits: Float64 array of shape `(num_samples, classes)`, or
            `(num_samples, 1)`.
        errors: Array of shape `(num_samples,)`. Bounds on the errors of the
            margins.
        temperature: Positive float.

    Returns:
        Float64 array of shape `(num_samples,)`, rounded down. `-inf` if nothing
        is known.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        if logits.shape[1] == 1:
            margins = np.abs(logits)
        else:
            labels = predict_labels(logits)[:, None]
            top = np.take_along_axis(logits, labels, axis=1)
            margins = np.nextafter(top - logits, -np.inf)
            others = np.arange(logits.shape[1]) != labels
            margins = margins[others].reshape(len(logits), -1)
        margins = np.nextafter(margins - errors[:, None], -np.inf)
        scaled = np.nextafter(margins * temperature, -np.inf)
        # The smallest margin is taken out of the sum, which is then at least
        # one, up to the accuracy of its terms.
        least = np.min(scaled, axis=1)
        rest = np.nextafter(least[:, None] - scaled, np.inf)
        powers = np.exp(np.minimum(rest, 0.0)) * (1 + _ACCURACY) + 2.0**-1000
        total = np.sum(powers, axis=1) * (1 + (scaled.shape[1] + 8) * 2.0**-52)
        log = np.log(total) + _ACCURACY
        found = np.nextafter(least - log * (1 + _ACCURACY), -np.inf)
    finite = np.isfinite(logits).all(axis=1) & np.isfinite(found)
    return np.where(finite, found, -np.inf)


def probability_radii(
    log_odds: Array, threshold: float, temperature: float, rate: float
) -> Array:
    """Returns radii within which the predicted class stays probable.

    Args:
        log_odds: The result of `log_odds_bound`.
        threshold: Float between 0 and 1, both excluded.
        temperature: Positive float.
        rate: Float. The largest Lipschitz constant of a margin.

    Returns:
        Float64 array of shape `(num_samples,)`, rounded down.
    """
    wanted = add_up(
        _log_up(threshold), -math.log1p(-threshold) * (1 + _ACCURACY)
    )
    rate = multiply_up(rate, temperature)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        safe = np.nextafter(log_odds - wanted, -np.inf)
        radii = np.nextafter(safe / rate, -np.inf)
    # If the probability is too small, a rate of zero does not help.
    radii = np.where((safe > 0) & ~np.isnan(radii), radii, 0.0)
    return np.clip(radii, 0.0, _LARGEST)


def distance_bound(rate: float, temperature: float, epsilon: float) -> float:
    """Bounds the Fisher-Rao distance of the probabilities of two inputs.

    Args:
        rate: Float. The largest Lipschitz constant of a margin.
        temperature: Positive float.
        epsilon: Non-negative float. Distance of the inputs.
    """
    if epsilon == 0:
        return 0.0
    bound = multiply_up(0.5, rate, temperature, epsilon)
    # No two distributions are further apart.
    return min(bound, math.nextafter(math.pi, math.inf))


def _log_up(x: float) -> float:
    """Bounds the logarithm of a number below one."""
    return math.log(x) * (1 - _ACCURACY)
