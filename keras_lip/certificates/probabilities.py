"""Bounds on the softmax probabilities of a classifier, by its margins."""

import math
from typing import Any

import numpy as np

from keras_lip.certificates.margins import predict_labels
from keras_lip.proofs.rounding import add_up
from keras_lip.proofs.rounding import multiply_up
from keras_lip.types import Array

# Radii are at most this large, so that reports are valid JSON.
_LARGEST = float(np.finfo("float64").max)

# More than the relative error of an exponential or a logarithm.
_ACCURACY = 2.0**-48

# More than an exponential loses to underflow.
_TINY = 2.0**-1000


def choose_classes(classes: Any, shape: tuple[int, ...]) -> Array:
    """Returns the set of classes of each sample.

    Args:
        classes: An integer, a sequence of integers, or a boolean array of shape
            `(num_samples, classes)`.
        shape: Shape of the logits. A single output has two classes.

    Returns:
        Boolean array of shape `(num_samples, classes)`.

    Raises:
        ValueError: If `classes` is something else, or a set is empty or
            contains all classes.
    """
    samples, count = shape[0], max(2, shape[1])
    given = np.asarray(classes)
    if given.dtype == bool and given.shape == (samples, count):
        chosen = given
    elif (
        np.issubdtype(given.dtype, np.integer)
        and given.ndim <= 1
        and np.all((0 <= given) & (given < count))
    ):
        chosen = np.tile(np.isin(np.arange(count), given), (samples, 1))
    else:
        raise ValueError(
            f"`classes` must be integers from 0 to {count - 1}, or a boolean "
            f"array of shape {(samples, count)}. Received: classes={classes!r}"
        )
    sizes = np.sum(chosen, axis=1)
    if np.any((sizes == 0) | (sizes == count)):
        raise ValueError(
            "A set of classes must contain a class and leave out another one. "
            "The probability of all classes is 1 at every input. Received: "
            f"classes={classes!r}"
        )
    return chosen


def log_odds_bound(
    logits: Array,
    errors: Array,
    temperature: float,
    chosen: Array | None = None,
) -> Array:
    """Bounds the log-odds of a set of classes from below.

    The log-odds `log(P / (1 - P))` of the total probability `P` of the set are
    the difference of two functions `log sum exp(temperature * z_i)`: of the
    logits in the set, and of the others. For a single output `f` of a sigmoid,
    the logits are `(0, f)`.

    Args:
        logits: Float64 array of shape `(num_samples, classes)`, or
            `(num_samples, 1)`.
        errors: Array of shape `(num_samples,)`. Bounds on the errors of the
            margins.
        temperature: Positive float.
        chosen: Boolean array of shape `(num_samples, classes)`, the set of each
            sample, neither empty nor full. There are two classes for a single
            output. Defaults to `None`, for the predicted class.

    Returns:
        Float64 array of shape `(num_samples,)`, rounded down. `-inf` if nothing
        is known.
    """
    if logits.shape[1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
    if chosen is None:
        labels = predict_labels(logits)[:, None]
        chosen = np.arange(logits.shape[1]) == labels
    inside = np.where(chosen, logits, -np.inf)
    outside = np.where(chosen, -np.inf, logits)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        top_inside = np.max(inside, axis=1)
        top_outside = np.max(outside, axis=1)
        # If no margin is off by more than its error, the log-odds are not off
        # by more than that times the temperature.
        gap = np.nextafter(top_inside - top_outside, -np.inf)
        gap = np.nextafter(gap - errors, -np.inf)
        gap = np.nextafter(gap * temperature, -np.inf)
        above = _log_sum_down(inside - top_inside[:, None], temperature)
        below = _log_sum_up(outside - top_outside[:, None], temperature)
        found = np.nextafter(gap + above, -np.inf)
        found = np.nextafter(found - below, -np.inf)
    finite = np.isfinite(logits).all(axis=1) & np.isfinite(found)
    return np.where(finite, found, -np.inf)


def _log_sum_down(differences: Array, temperature: float) -> Array:
    """Bounds `log sum exp(temperature * d)` from below.

    Args:
        differences: Array of rounded differences, whose largest one is zero in
            each row.
        temperature: Positive float.
    """
    lowest = np.nextafter(differences, -np.inf)
    lowest = np.nextafter(lowest * temperature, -np.inf)
    powers = np.maximum(np.exp(lowest) * (1 - _ACCURACY) - _TINY, 0.0)
    total = np.sum(powers, axis=1) * (1 - _sum_error(powers))
    log = np.log(total)
    return np.nextafter(log - _ACCURACY * (1 + np.abs(log)), -np.inf)


def _log_sum_up(differences: Array, temperature: float) -> Array:
    """Bounds `log sum exp(temperature * d)` from above, as `_log_sum_down`."""
    highest = np.minimum(np.nextafter(differences, np.inf), 0.0)
    highest = np.minimum(np.nextafter(highest * temperature, np.inf), 0.0)
    powers = np.exp(highest) * (1 + _ACCURACY) + _TINY
    total = np.sum(powers, axis=1) * (1 + _sum_error(powers))
    log = np.log(total)
    return np.nextafter(log + _ACCURACY * (1 + np.abs(log)), np.inf)


def _sum_error(powers: Array) -> float:
    return (powers.shape[1] + 8) * 2.0**-52


def probability_radii(
    log_odds: Array, threshold: float, temperature: float, rate: float
) -> Array:
    """Returns radii within which a set of classes stays probable.

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
