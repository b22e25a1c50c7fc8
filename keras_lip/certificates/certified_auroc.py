"""A lower bound on the AUROC under all perturbations of a size."""

from typing import Any

import numpy as np

from keras_lip.proofs.rounding import divide_down
from keras_lip.proofs.rounding import multiply_up
from keras_lip.types import Array
from keras_lip.validation import check_number


def certified_auroc(
    scores: Any,
    labels: Any,
    epsilon: float,
    lipschitz_bound: float,
    errors: Any,
) -> float:
    """Bounds the AUROC under all perturbations of the samples from below.

    The AUROC is the share of pairs of a positive and a negative sample in which
    the positive one has the larger score, where half of the ties count. If
    every sample may move by up to `epsilon`, its score moves by at most
    `lipschitz_bound * epsilon`. A pair is proven to stay in order if the lowest
    possible score of the positive sample exceeds the highest possible score of
    the negative one. The share of these pairs is a lower bound on the AUROC of
    these samples, whatever the perturbations are and however they depend on
    each other. All errors are rounded to the safe side. The bound holds for
    these samples: for their distribution it is an estimate.

    For a model with one output, `report = certify(model, x, labels)` returns
    the numbers as `report.logits[:, 0]`, `report.label`,
    `report.lipschitz_bound` and `report.margin_error`. The perturbations are
    then measured in `report.norm`.

    Args:
        scores: Array of numbers of shape `(num_samples,)`.
        labels: Array of booleans, or of 0 and 1, of the same shape. At least
            one is positive and one is not.
        epsilon: Non-negative float. Largest norm of a perturbation.
        lipschitz_bound: Non-negative float. Proven bound on the Lipschitz
            constant of the score.
        errors: Non-negative number, or array of shape `(num_samples,)`. Bounds
            on the errors of `scores`; `0` for exact scores, `inf` if unknown.

    Returns:
        Float between 0 and 1.

    Raises:
        ValueError: If an array has another shape, a score is not finite, a
            label is not 0 or 1, all labels are the same, or another argument is
            negative or not a number.

    Example:

    >>> scores, labels = [0.9, 0.5, 0.3, 0.1], [1, 1, 0, 0]
    >>> certified_auroc = keras_lip.certificates.certified_auroc
    >>> certified_auroc(scores, labels, 0.0, lipschitz_bound=1.0, errors=0.0)
    1.0
    >>> certified_auroc(scores, labels, 0.15, lipschitz_bound=1.0, errors=0.0)
    0.75

    Reference:

    - [Béthune et al., 2023](https://arxiv.org/abs/2303.01978), on certified
      AUROC of 1-Lipschitz scores
    """
    scores = _to_array("scores", scores)
    if scores.ndim != 1 or not np.isfinite(scores).all():
        raise ValueError(
            "`scores` must contain finite numbers, in shape `(num_samples,)`. "
            f"Received: scores of shape {scores.shape}"
            + (", with NaN or infinity" if scores.ndim == 1 else "")
        )
    positive = _to_booleans(labels, scores.shape)
    epsilon = check_number("epsilon", epsilon, 0.0)
    bound = check_number("lipschitz_bound", lipschitz_bound, 0.0)
    errors = _to_array("errors", errors)
    if errors.shape not in ((), scores.shape) or not np.all(errors >= 0):
        raise ValueError(
            "`errors` must be a non-negative number, or an array of them of "
            f"shape {scores.shape}. Received: errors={errors!r}"
        )
    shift = np.nextafter(multiply_up(bound, epsilon) + errors, np.inf)
    lowest = np.nextafter(scores - shift, -np.inf)[positive]
    highest = np.nextafter(scores + shift, np.inf)[~positive]
    below = np.searchsorted(np.sort(highest), lowest, side="left")
    return divide_down(int(np.sum(below)), len(lowest) * len(highest))


def _to_array(name: str, values: Any) -> Array:
    try:
        return np.asarray(values, "float64")
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`{name}` must contain numbers. Received: {name}={values!r}"
        ) from error


def _to_booleans(labels: Any, shape: tuple[int, ...]) -> Array:
    found = np.asarray(labels)
    if found.shape != shape or not np.isin(found, (0, 1)).all():
        raise ValueError(
            f"`labels` must be 0 or 1, in shape {shape}. Received: labels of "
            f"shape {found.shape} with the values {np.unique(found)[:5]}"
        )
    positive: Array = found == 1
    if positive.all() or not positive.any():
        raise ValueError(
            "The AUROC needs a positive and a negative sample. Received: only "
            f"labels {int(positive[0]) if len(positive) else '(none)'}"
        )
    return positive
