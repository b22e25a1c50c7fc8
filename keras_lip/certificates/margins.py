"""From logits to certified radii, in float64 and rounded down."""

from collections.abc import Sequence

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


def margin_radii(
    logits: Array, pair_bounds: Array, errors: Array, threshold: float = 0.0
) -> Array:
    """Returns the radius within which each answer is proven constant.

    The radius is the least `(f_y - f_j - error - threshold) / bound_yj` over
    *all* other classes `j`, or `(|f| - error - threshold) / L` for a single
    output.

    Args:
        logits: Array of shape `(num_samples, classes)`, float64.
        pair_bounds: Array of shape `(classes, classes)`, the proven Lipschitz
            constants of the margins.
        errors: Array of shape `(num_samples,)`. By how much a margin may be
            off.
        threshold: Float, at least zero. Margin below which no answer is given.

    Returns:
        Array of shape `(num_samples,)`, float64, neither negative nor infinite.
        It is zero where logits tie or are not finite, and where no answer is
        given.
    """
    safe, bounds, others = _safe_margins(logits, pair_bounds, errors)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        if threshold > 0:
            safe = np.nextafter(safe - threshold, -np.inf)
        radii = np.nextafter(safe / bounds, -np.inf)
    # A class that ties is at no distance, whatever its bound.
    radii = np.where(safe > 0, radii, 0.0)
    radii = np.where(others, radii, np.inf).min(axis=1)
    finite = np.isfinite(logits).all(axis=1) & ~np.isnan(radii)
    return np.where(finite, np.clip(radii, 0.0, _LARGEST), 0.0)


def worst_margins(
    logits: Array, pair_bounds: Array, errors: Array, epsilons: Sequence[float]
) -> Array:
    """Returns the least margin that is proven within each of some distances.

    Args:
        logits: Array of shape `(num_samples, classes)`, float64.
        pair_bounds: As in `margin_radii`.
        errors: As in `margin_radii`.
        epsilons: Distances, at least zero.

    Returns:
        Array of shape `(num_samples, num_epsilons)`, float64: the least
        `f_y - f_j - error - epsilon * bound_yj` over all other classes, zero
        where it is negative or not known.
    """
    safe, bounds, others = _safe_margins(logits, pair_bounds, errors)
    worst = []
    for epsilon in epsilons:
        with np.errstate(invalid="ignore", over="ignore"):
            loss = np.nextafter(epsilon * bounds, np.inf)
            left = np.nextafter(safe - loss, -np.inf)
        left = np.where(others, left, np.inf).min(axis=1)
        worst.append(np.where(np.isfinite(left), np.maximum(left, 0.0), 0.0))
    return np.stack(worst, axis=1)


def _safe_margins(
    logits: Array, pair_bounds: Array, errors: Array
) -> tuple[Array, Array, Array]:
    """Returns margins less their errors, their bounds, and which ones count."""
    if logits.shape[1] == 1:
        margins, bounds = np.abs(logits), pair_bounds[[0] * len(logits)]
        others = np.ones_like(logits, dtype=bool)
    else:
        labels = predict_labels(logits)
        others = np.arange(logits.shape[1]) != labels[:, None]
        top = np.take_along_axis(logits, labels[:, None], axis=1)
        with np.errstate(invalid="ignore", over="ignore"):
            margins = top - logits
        bounds = pair_bounds[labels]
    with np.errstate(invalid="ignore", over="ignore"):
        safe = np.nextafter(margins - errors[:, None], -np.inf)
    return safe, bounds, others
