"""Certification of a model on a data set."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_lip.certificates.certifier import Certifier
from keras_lip.certificates.reports.audit_report import AuditReport
from keras_lip.certificates.reports.certification_report import (
    CertificationReport,
)
from keras_lip.validation import check_numbers


def certify(
    model: keras.Model,
    x: Any,
    y: Any = None,
    epsilons: float | Sequence[float] = (36 / 255, 72 / 255, 108 / 255),
    batch_size: int = 256,
    norm: str | None = None,
    audit: AuditReport | None = None,
    abstain_below: float = 0.0,
    semantics: str = "real",
) -> CertificationReport:
    """Proves, for each input, a radius within which its class cannot change.

    The model is frozen: what it computes at inference is read once, as numbers,
    and everything is proven of these. The bound of every layer is measured in
    float64 and rounded up; the logits of the inputs are computed in float64,
    what they are off by is bounded, and their margins are rounded down. What is
    proven holds of the real-valued function that these numbers define, for
    perturbations of the input as the model receives it. The live model is run
    on the same inputs, and refused where it answers otherwise than its
    roundings explain.

    With `L` the Lipschitz bound of the model, the radius is `|f| / L` for a
    single output, and otherwise, over all other classes `j`, the least
    `(f_y - f_j) / (sqrt(2) L)` or, where the last layer is linear and this is
    larger, `(f_y - f_j) / (L_trunk |w_y - w_j|)`. In the l-infinity norm, `2`
    stands for `sqrt(2)`, and the l1 norm for that of the weights. Ties have
    radius zero.

    A model that ends in a `CurvatureHead` is certified by the curvature of its
    margins as well, and each radius is the largest that is proven.

    What holds of the real-valued function need not hold of an execution in
    floating point, whose roundings an attacker might use. With `semantics` of
    `"float32"` or `"float64"`, radii are those within which no execution of the
    materialized model in that precision changes its answer, in whatever order
    it sums: the rounding errors of every layer, at the input and anywhere
    within the radius, are bounded and taken off the margin. That is known of
    dense layers, of convolutions that are computed as products and sums, and of
    what moves, sorts and adds; anything else is refused. In float32 the bounds
    leave nothing of the radii of wide and deep networks.

    With `abstain_below`, the classifier answers where its least margin is at
    least that, and abstains elsewhere. Radii are then those within which the
    answer stays and is given; and any two inputs with different answers, seen
    or not, are further apart than the report's `global_radius`.

    Args:
        model: A built classifier with one input and one output of logits, of
            shape `(batch_size, classes)`, or `(batch_size, 1)` for labels 0 and
            1 or -1 and 1.
        x: Array of inputs; or an iterable of batches `(inputs, labels)`, such
            as a `tf.data.Dataset`, a `keras.utils.PyDataset` or a PyTorch
            `DataLoader`, in which case `y` is `None`. All are of one shape
            where a bound depends on sizes that the model leaves open.
        y: Array of labels: class indices or one-hot. Defaults to `None`.
        epsilons: Radius, or radii, to report certified accuracies at. Defaults
            to `(36 / 255, 72 / 255, 108 / 255)`.
        batch_size: Positive integer. Number of samples evaluated at a time.
            Defaults to `256`.
        norm: `"l2"` or `"linf"`, of the perturbations. Defaults to the norm
            that the guarantees of all layers hold in, l2 where they hold in
            both.
        audit: What `keras_lip.certificates.audit` returned for this model, to
            use its bounds again. Its hash must be that of the model as it
            stands. Defaults to bounds that are proven now.
        abstain_below: Float, at least zero. Margin below which no answer is
            given. Defaults to `0.0`.
        semantics: `"real"` for the real-valued function of the weights,
            `"float64"` or `"float32"` for the executions in that precision.
            Defaults to `"real"`.

    Returns:
        A `CertificationReport`.

    Raises:
        ValueError: If the model is not built, has several outputs, ends in a
            softmax or sigmoid, computes in less than float32, or holds a layer
            of unknown bound; if an input is not finite; if labels are missing,
            out of range or of the wrong shape; if an epsilon is negative; if
            the live model answers otherwise than what was read from it; if
            `audit` is of another model, or of other weights; if the roundings
            of a layer are not accounted for by `semantics`.

    Example:

    >>> model = keras.Sequential(
    ...     [keras.Input((2,)), keras_lip.layers.UnitNormDense(3)]
    ... )
    >>> report = keras_lip.certificates.certify(
    ...     model, np.eye(2), [0, 1], epsilons=[0.1]
    ... )
    >>> report.radius.shape
    (2,)

    Reference:

    - [Tsuzuku et al., 2018](https://arxiv.org/abs/1802.04034), Proposition 1
    - [Singla et al., 2022](https://arxiv.org/abs/2108.04062), Proposition 3
    - [Bethune et al., 2022](https://arxiv.org/abs/2104.05097), for abstention
    """
    radii = check_numbers("epsilons", epsilons, 0.0)
    certifier = Certifier(model, norm, audit, abstain_below, semantics)
    batches = list(certifier.run(x, y, batch_size, radii))
    if any(batch.label is None for batch in batches):
        raise ValueError(
            "Labels are needed to certify an accuracy: pass `y`, or an `x` "
            "that yields `(inputs, labels)`. For radii alone use "
            "`keras_lip.certificates.certified_radius`."
        )
    return CertificationReport(
        model_name=model.name,
        lipschitz_bound=certifier.bounds.lipschitz_bound,
        method=certifier.bounds.method,
        epsilons=radii,
        radius=np.concatenate([batch.radius for batch in batches]),
        prediction=np.concatenate([batch.prediction for batch in batches]),
        label=np.concatenate([batch.label for batch in batches]),
        norm=certifier.bounds.norm,
        semantics=certifier.semantics,
        abstain_below=certifier.abstain_below,
        worst_margin=np.concatenate([batch.worst_margin for batch in batches]),
        largest_pair_bound=float(np.max(certifier.bounds.matrix)),
        audit=certifier.audit,
    )
